"""One layer of parallel workers (W1, W3); `stop_rules.py` decides when it is done (W7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVarTuple, Unpack

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from chorus.cancellation import cancelled_with
from chorus.errors import ChorusError
from chorus.events import Path, ShortcutName
from chorus.types import Answer
from chorus.workflow.judging.response_format import ResponseFormat
from chorus.workflow.judging.temperature import awaits_analysis
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.nodes import analyzer, worker
from chorus.workflow.nodes.results import Gathered, WorkerResult, gathered
from chorus.workflow.nodes.stop_rules import StopRules
from chorus.workflow.plan import Custom, Flow, Hedge, Leaf, Node, selector_calls, total_calls
from chorus.workflow.run import Run
from chorus.workflow.stage import Place, Stage, fault_of

Ts = TypeVarTuple("Ts")

_log = structlog.get_logger("chorus.workflow")

Nested = Callable[[Run, Path, Flow], Awaitable[Answer]]


@dataclass(eq=False, slots=True)
class _Seat:
    """A worker's place. A hedge and the worker that it backs are each other's `rival`."""

    place: Place
    node: Node
    label: str
    scope: anyio.CancelScope
    stage: Stage | None = None
    rival: _Seat | None = None


class Layer:
    """Supervisor of one layer of workers of `flow`: starts seats, collects results, stops others.

    `StopRules` decides.

    The paths of the workers begin at `first_index`. `nested` runs a worker that is a workflow.
    `analysis` is the analyzer's, None where it has not been asked yet.
    """

    def __init__(
        self,
        run: Run,
        path: Path,
        flow: Flow,
        nested: Nested,
        *,
        response_format: ResponseFormat | None,
        number: int = 0,
        first_index: int = 0,
        analysis: Analysis | None = None,
    ) -> None:
        self._run = run
        self._path = path
        self._flow = flow
        self._nested = nested
        self._response_format = response_format
        self._analysis = analysis
        self._analyzed = anyio.Event()
        suffix = f" (layer {number + 1})" if number else ""
        seats = [
            _Seat(Place(first_index + offset, number + 1), node, node.label + suffix, anyio.CancelScope())
            for offset, node in enumerate(flow.layer(number))
        ]
        self._next_index = first_index + len(seats)
        self._rules = StopRules(seats, flow.agreement, flow.quorum)
        self._pending: set[_Seat] = set()
        self._workers: TaskGroup

    async def gather(self) -> Gathered:
        """Run the workers, and the analyzer where one of them waits for it; return their results.

        A worker whose temperature does not depend on the analyzer starts while the analyzer runs;
        an analyzer for which no worker waits any more is cancelled. One worker's failure is its
        own.
        """
        async with anyio.create_task_group() as judges:
            if self._analysis is not None or self._flow.analyzer is None:
                self._analyzed.set()
            else:
                judges.start_soon(cancelled_with, judges.cancel_scope, self._analyze, self._flow.analyzer)
            async with anyio.create_task_group() as self._workers:
                for seat in self._rules.first():
                    self._start(seat)
            judges.cancel_scope.cancel()
        return gathered(self._rules.results, self._rules.agreed, self._analysis, self._next_index)

    async def _analyze(self, node: Leaf) -> None:
        try:
            self._analysis = await analyzer.analyze(self._run, (*self._path, "analyzer"), node)
        finally:
            self._analyzed.set()

    def _start(self, seat: _Seat) -> None:
        self._pending.add(seat)
        self._begin(self._supervise, seat)

    def _begin(self, work: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts) -> None:
        self._workers.start_soon(cancelled_with, self._workers.cancel_scope, work, *args)

    async def _supervise(self, seat: _Seat) -> None:
        try:
            with seat.scope:
                self._arrived(seat, await self._result(seat))
        finally:
            self._pending.discard(seat)
            if not self._pending:  # what is left are timers
                self._workers.cancel_scope.cancel()

    def _arrived(self, seat: _Seat, result: WorkerResult) -> None:
        """Take one result, and do what the rules decide."""
        if result.answer is not None and seat.rival is not None:
            seat.rival.scope.cancel()
        decision = self._rules.arrived(seat, result)
        for waiting in decision.start:
            self._start(waiting)
        judges = _judging_calls(self._flow) if decision.agreed is not None else 0
        if decision.stop is not None and decision.grace_secs:
            self._begin(self._stop_later, decision.stop, decision.grace_secs)
        elif decision.stop is not None:
            self._stop(decision.stop, also=judges)
        if decision.stop != "agreement" and (decision.dropped or decision.agreed is not None):
            self._run.skipped("settled", self._path, decision.dropped + judges)

    async def _stop_later(self, shortcut: ShortcutName, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._stop(shortcut)

    def _stop(self, shortcut: ShortcutName, also: int = 0) -> None:
        """Cancel the workers that have not answered; `also` are further calls that are saved."""
        stragglers = [seat for seat in self._pending if not self._rules.has_result(seat.place.index)]
        saved = sum(total_calls(seat.node) for seat in stragglers) + self._rules.waiting + also
        if saved:
            self._run.skipped(shortcut, self._path, saved)
        self._workers.cancel_scope.cancel()

    async def _result(self, seat: _Seat) -> WorkerResult:
        """Return the answer of `seat`, checked against the response format, or its fault."""
        index, label = seat.place.index, seat.label
        try:
            answer = await self._answer(seat)
        except ChorusError as error:
            return WorkerResult(index, label, fault=fault_of(error))
        # whatever a node does wrong must not take the other workers down (W2)
        except Exception as error:
            _log.error("worker crashed", worker=label, request_id=self._run.request_id, exc_info=error)
            return WorkerResult(index, label, fault=fault_of(error))
        if self._response_format is None or answer.tool_calls:
            return WorkerResult(index, label, answer)
        text = self._response_format.validated(answer.text)
        if text is None:
            return WorkerResult(index, label, answer, is_valid=False)
        return WorkerResult(index, label, msgspec.structs.replace(answer, text=text))

    async def _answer(self, seat: _Seat) -> Answer:
        run, node, here = self._run, seat.node, (*self._path, str(seat.place.index))
        if isinstance(node, Flow):
            with run.stage(here, "worker", seat.label, is_group=True, place=seat.place) as stage:
                merged = await self._nested(run, here, node)
                stage.finish(answer=merged)
                return merged
        if isinstance(node, Custom):
            return await worker.delegate(run, here, node, seat.place)
        suggested = None
        if awaits_analysis(node, run.models[node.ref].temperature, run.request.sampling.temperature):
            await self._analyzed.wait()
            suggested = self._analysis.temperature if self._analysis is not None else None
        if self._flow.hedge is not None and seat.rival is None:
            self._begin(self._hedge, seat, node, self._flow.hedge)

        def entered(stage: Stage) -> None:
            seat.stage = stage

        return await worker.ask(run, here, node, suggested, label=seat.label, place=seat.place, entered=entered)

    async def _hedge(self, seat: _Seat, node: Leaf, hedge: Hedge) -> None:
        """Back a straggler that has not begun to answer."""
        await anyio.sleep(hedge.after_secs)
        has_begun = seat.stage is not None and seat.stage.first_token_at is not None
        if seat not in self._pending or has_begun or self._run.totals.hedges >= hedge.max:
            return
        self._run.totals.hedges += 1
        place = Place(self._next_index, seat.place.layer, is_hedge=True)
        twin = _Seat(place, hedge.to or node, f"{seat.label} (hedge)", anyio.CancelScope(), rival=seat)
        seat.rival = twin
        self._next_index += 1
        self._start(twin)


def _judging_calls(flow: Flow) -> int:
    """Return how many calls of judges an agreed answer saves."""
    return selector_calls(flow) + (flow.synthesizer is not None)
