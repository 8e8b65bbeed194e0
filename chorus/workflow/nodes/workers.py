"""One layer of workers, side by side, and when enough of them have answered (W1, W3, W7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from chorus.errors import ChorusError
from chorus.events import Fault, Path
from chorus.types import Answer
from chorus.workflow.judging import agreement
from chorus.workflow.judging.response_format import ResponseFormat
from chorus.workflow.judging.temperature import awaits_analysis
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.nodes import analyzer, worker
from chorus.workflow.nodes.waves import Waves
from chorus.workflow.plan import Compare, Custom, Flow, Leaf, Node, selector_calls, total_calls
from chorus.workflow.run import Run
from chorus.workflow.stage import Place, Stage, fault_of

_log = structlog.get_logger("chorus.workflow")

Nested = Callable[[Run, Path, Flow], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What became of the worker at `index`: an answer, or the reason why there is none. `is_valid` tells whether it has the
    form that the request asks for."""

    index: int
    label: str
    answer: Answer | None = None
    fault: Fault | None = None
    is_valid: bool = True

    @property
    def whole(self) -> Answer:
        """The answer of an outcome that is a candidate."""
        assert self.answer is not None
        return self.answer


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a layer gave. `agreed` is the position in `candidates` of the answer that so many gave that no judge is needed;
    `next_index` is where the paths of a further layer begin."""

    candidates: Sequence[WorkerResult]
    failures: Sequence[WorkerResult]
    analysis: Analysis | None
    next_index: int
    agreed: int | None = None


@dataclass(eq=False, slots=True)
class _Seat:
    """A worker's place. A hedge and the worker that it backs are each other's `rival`."""

    place: Place
    node: Node
    label: str
    scope: anyio.CancelScope
    stage: Stage | None = None
    rival: _Seat | None = None

    @property
    def index(self) -> int:
        return self.place.index


class Layer:
    """The workers of one layer of `flow`, whose paths begin at `first_index`. `nested` runs a worker that is a workflow;
    `analysis` is what the analyzer said, None where nobody has asked it yet."""

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
        self._waves = Waves(seats)
        self._pending: set[_Seat] = set()
        self._outcomes: list[WorkerResult] = []
        self._agreed: WorkerResult | None = None
        self._keys: dict[tuple[int, Compare], str] = {}
        self._workers: TaskGroup

    async def gather(self) -> Gathered:
        """Run the workers, and the analyzer where one of them waits for it.

        A worker whose temperature does not depend on the analyzer starts while the analyzer runs; an analyzer for which
        nobody waits any more is cancelled. One worker's failure is its own.
        """
        async with anyio.create_task_group() as judges:
            if self._analysis is not None or self._flow.analyzer is None:
                self._analyzed.set()
            else:
                judges.start_soon(self._analyze, self._flow.analyzer)
            async with anyio.create_task_group() as self._workers:
                for seat in self._waves.first():
                    self._start(seat)
            judges.cancel_scope.cancel()
        found = sorted(self._outcomes, key=lambda outcome: outcome.index)
        candidates = [outcome for outcome in found if outcome.answer is not None]
        agreed = candidates.index(self._agreed) if self._agreed is not None else None
        failures = [outcome for outcome in found if outcome.answer is None]
        return Gathered(candidates, failures, self._analysis, self._next_index, agreed)

    async def _analyze(self, node: Leaf) -> None:
        try:
            self._analysis = await analyzer.analyze(self._run, (*self._path, "analyzer"), node)
        finally:
            self._analyzed.set()

    def _start(self, seat: _Seat) -> None:
        self._pending.add(seat)
        self._workers.start_soon(self._supervise, seat)

    async def _supervise(self, seat: _Seat) -> None:
        try:
            with seat.scope:
                self._arrived(seat, await self._outcome(seat))
        finally:
            self._pending.discard(seat)
            if not self._pending:  # what is left are timers
                self._workers.cancel_scope.cancel()

    async def _outcome(self, seat: _Seat) -> WorkerResult:
        try:
            answer = await self._answer(seat)
        except ChorusError as error:
            return WorkerResult(seat.index, seat.label, fault=fault_of(error))
        except Exception as error:  # whatever a node does wrong must not take the other workers down (W2)
            _log.error("worker crashed", worker=seat.label, request_id=self._run.request_id, exc_info=error)
            return WorkerResult(seat.index, seat.label, fault=fault_of(error))
        if self._response_format is None or answer.tool_calls:
            return WorkerResult(seat.index, seat.label, answer)
        text = self._response_format.validated(answer.text)
        if text is None:
            return WorkerResult(seat.index, seat.label, answer, is_valid=False)
        return WorkerResult(seat.index, seat.label, msgspec.structs.replace(answer, text=text))

    async def _answer(self, seat: _Seat) -> Answer:
        run, node, here = self._run, seat.node, (*self._path, str(seat.index))
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
            self._workers.start_soon(self._hedge, seat)

        def entered(stage: Stage) -> None:
            seat.stage = stage

        return await worker.ask(run, here, node, suggested, label=seat.label, place=seat.place, entered=entered)

    def _arrived(self, seat: _Seat, outcome: WorkerResult) -> None:
        """Take one outcome, and see whether that is enough."""
        self._outcomes.append(outcome)
        if outcome.answer is not None and seat.rival is not None:
            seat.rival.scope.cancel()
        if not (self._has_agreed() or self._has_quorum()):
            self._sample_on(seat, outcome)

    def _has_agreed(self) -> bool:
        wanted = self._flow.agreement
        keyed = self._keyed(wanted.compare) if wanted is not None else []
        if wanted is None or not keyed:
            return False
        key, times, _ = agreement.most_frequent([key for key, _ in keyed])
        if times < wanted.threshold:
            return False
        self._agreed = next(outcome for mine, outcome in keyed if mine == key)
        self._stop("agreement", also=self._judging_calls())
        return True

    def _keyed(self, compare: Compare) -> list[tuple[str, WorkerResult]]:
        """Every candidate that could be the answer, in order, with what it has in common with those that agree with it."""
        fitting = (each for each in self._outcomes if each.answer is not None and each.is_valid)
        return [(self._key(each, compare), each) for each in sorted(fitting, key=lambda each: each.index)]

    def _key(self, outcome: WorkerResult, compare: Compare) -> str:
        """See `agreement.key`. Worked out once for each outcome, not again whenever another one
        arrives."""
        place = (outcome.index, compare)
        if place not in self._keys:
            self._keys[place] = agreement.key(outcome.whole, compare)
        return self._keys[place]

    def _has_quorum(self) -> bool:
        """Whether enough candidates are in; the grace period begins with the last of them."""
        quorum = self._flow.quorum
        if quorum is None or sum(each.answer is not None for each in self._outcomes) != quorum.min:
            return False
        if quorum.grace_secs > 0:
            self._workers.start_soon(self._wait_grace, quorum.grace_secs)
            return False
        self._stop("quorum")
        return True

    async def _wait_grace(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._stop("quorum")

    def _sample_on(self, seat: _Seat, outcome: WorkerResult) -> None:
        """Start the next wave of the seat's samples, unless they are settled."""
        key = None
        if (
            outcome.answer is not None
            and outcome.is_valid
            and isinstance(seat.node, Leaf)
            and seat.node.samples is not None
        ):
            key = self._key(outcome, seat.node.samples.compare)
        wave = self._waves.arrived(seat, key)
        for each in wave.next:
            self._start(each)
        if wave.settled is None:
            return
        if self._waves.is_all and isinstance(seat.node, Leaf) and seat.node.samples is not None:
            # nobody else answers: the vote is the verdict
            keyed = self._keyed(seat.node.samples.compare)
            self._agreed = next(each for mine, each in keyed if mine == wave.settled)
            self._run.skipped("settled", self._path, len(wave.dropped) + self._judging_calls())
        elif wave.dropped:
            self._run.skipped("settled", self._path, len(wave.dropped))

    async def _hedge(self, seat: _Seat) -> None:
        """Back a straggler that has not begun to answer."""
        hedge, node = self._flow.hedge, seat.node
        assert hedge is not None
        assert isinstance(node, Leaf)
        await anyio.sleep(hedge.after_secs)
        has_begun = seat.stage is not None and seat.stage.first_token_at is not None
        if seat not in self._pending or has_begun or self._run.totals.hedges >= hedge.max:
            return
        self._run.totals.hedges += 1
        label = f"{seat.label} (hedge)"
        place = Place(self._next_index, seat.place.layer, is_hedge=True)
        twin = _Seat(place, hedge.to or node, label, anyio.CancelScope(), rival=seat)
        seat.rival = twin
        self._next_index += 1
        self._start(twin)

    def _stop(self, shortcut: str, also: int = 0) -> None:
        """Cancel whoever has not answered."""
        stragglers = sum(total_calls(seat.node) for seat in self._pending if not self._is_in(seat))
        saved = stragglers + len(self._waves.waiting) + also
        if saved:
            self._run.skipped(shortcut, self._path, saved)
        self._workers.cancel_scope.cancel()

    def _is_in(self, seat: _Seat) -> bool:
        return any(outcome.index == seat.index for outcome in self._outcomes)

    def _judging_calls(self) -> int:
        return selector_calls(self._flow) + (self._flow.synthesizer is not None)
