"""Running a plan: the one place that opens tasks for a request, and closes them."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import anyio
import msgspec
import structlog

from chorus.cancellation import CancelSignal, cancelled_with, gone, run_until
from chorus.clock import running_clock
from chorus.errors import ChorusError, ClientGone, Internal
from chorus.events import FailureStatus, Path, RunFailed, RunFinished, RunStarted
from chorus.journal import Journal, Observer
from chorus.types import Answer, ChatRequest
from chorus.workflow.kinds import NodeKind
from chorus.workflow.model import Model
from chorus.workflow.nodes import flow, single
from chorus.workflow.plan import Flow, Leaf
from chorus.workflow.run import Budget, Learner, Run
from chorus.workflow.stage import Place

_RANDOM = Random()
"""Random source of runs without a seed: one each would cost a twentieth of a relayed request."""
_log = structlog.get_logger("chorus.workflow")


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow or a single model, ready to be run.

    `seed` makes the orders that judges see repeatable. `total` is the limit of a whole run in
    seconds, `budget` of what it may use; both hold for the whole tree. `progress` shows a waiting
    client the stages. `reports_total_usage`: see `RunFinished.reports_total`.
    """

    name: str
    root: Flow | Leaf
    max_parallel: int | None = None
    total: float | None = None
    budget: Budget | None = None
    progress: bool = False
    reports_total_usage: bool = False
    seed: int | None = None
    description: str = ""
    side_model: str | None = None
    """Model for side requests, where it is not this plan (`[workflow] side_requests`)."""


class Job(msgspec.Struct, frozen=True):
    """One client request: a `ChatRequest` for each answer (`n`, lists of prompts), usually one."""

    workflow_id: str
    request_id: str
    requests: Sequence[ChatRequest]
    streaming: bool = True
    observers: Sequence[Observer] = ()
    turn: Callable[[], Awaitable[None]] | None = None
    """Waits until the run may begin to work; what it raises is the run's failure. Times and
    deadlines count from then."""
    prepare: Callable[[Run], Awaitable[Sequence[ChatRequest]]] | None = None
    """Returns the requests as the plan gets them, one for each of `requests`.

    It may write stages. Called after `turn`; what it raises is the run's failure.
    """
    side: str | None = None
    """See `RunStarted.side`."""
    notes: tuple[str, ...] = ()
    """See `RunStarted.notes`."""
    cancel_signal: CancelSignal | None = None
    """Set when the client disconnects: it cancels the run and the block around it (W13)."""
    on_journal: Callable[[Journal], None] | None = None
    """Called with the journal before anything stands in it."""
    outgoing: Callable[[Path], Mapping[str, str]] | None = None
    """See `Run.outgoing`."""
    learner: Learner | None = None
    """See `Run.learner`."""


def running(
    plan: Plan, job: Job, models: Mapping[str, Model], kinds: Mapping[str, NodeKind]
) -> AbstractAsyncContextManager[Journal]:
    """Run `plan` for `job`; the block holds its journal. Leaving the block, for whatever reason,
    has stopped every upstream call of the run (W13) and written its last event.

    A run that is not `streaming` is over when the block begins: its journal is not read before, so
    it needs no task of its own, which would be a twentieth of a relayed request's CPU
    (benchmarks/passthrough.py)."""
    journal = Journal(job.observers, workflow_id=job.workflow_id)
    if job.on_journal is not None:
        job.on_journal(journal)
    if job.streaming:
        return _beside(plan, job, models, kinds, journal)
    return _Whole(journal, partial(_drive_here, plan, job, models, kinds, journal))


class _Whole(AbstractAsyncContextManager[Journal]):
    """A run that is over when its block begins. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_drive", "_journal")

    def __init__(self, journal: Journal, drive: Callable[[], Awaitable[None]]) -> None:
        self._journal = journal
        self._drive = drive

    async def __aenter__(self) -> Journal:
        await self._drive()
        return self._journal

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        return


@asynccontextmanager
async def _beside(
    plan: Plan, job: Job, models: Mapping[str, Model], kinds: Mapping[str, NodeKind], journal: Journal
) -> AsyncIterator[Journal]:
    """A run in a task of its own while the block reads its journal."""
    raised: Exception | None = None
    async with anyio.create_task_group() as group:
        cancel = group.cancel_scope.cancel
        if job.cancel_signal is not None:
            job.cancel_signal.subscribe(cancel)
        group.start_soon(cancelled_with, group.cancel_scope, _drive, plan, job, models, kinds, journal)
        try:
            yield journal
        except Exception as error:  # carried past the group, which would wrap it
            raised = error
        finally:
            if job.cancel_signal is not None:
                job.cancel_signal.unsubscribe(cancel)
            # a closed run has no task left, and cancelling none costs more than looking
            if not journal.closed:
                cancel()
    if raised is not None:
        raise raised


async def _drive_here(
    plan: Plan, job: Job, models: Mapping[str, Model], kinds: Mapping[str, NodeKind], journal: Journal
) -> None:
    if job.cancel_signal is None or _is_one_call(plan, job):
        await _drive(plan, job, models, kinds, journal)
        return
    with anyio.CancelScope() as scope:
        job.cancel_signal.subscribe(scope.cancel)
        try:
            await _drive(plan, job, models, kinds, journal)
        finally:
            job.cancel_signal.unsubscribe(scope.cancel)


def _is_one_call(plan: Plan, job: Job) -> bool:
    """Return whether the run is one call, whose own cancel scope is enough when the client
    disconnects.

    A second scope takes 3 % of a relayed request's CPU.
    """
    return not job.streaming and isinstance(plan.root, Leaf) and len(job.requests) == 1


async def _drive(
    plan: Plan, job: Job, models: Mapping[str, Model], kinds: Mapping[str, NodeKind], journal: Journal
) -> None:
    """Write the whole journal of a run; it always ends with `RunFinished` or `RunFailed`."""
    model = job.requests[0].model
    journal.write(
        RunStarted(
            job.workflow_id, job.request_id, model, plan.name, time.time(), len(job.requests), job.side, job.notes
        )
    )
    first = _first(plan, job, models, kinds, journal)
    failure: ChorusError
    status: FailureStatus = "failed"
    try:
        if job.turn is not None:
            await (job.turn() if first.cancel_signal is None else run_until(first.cancel_signal, job.turn))
            first = _first(plan, job, models, kinds, journal)
        requests = job.requests
        if job.prepare is not None:
            requests = await _prepared(job.prepare, first)
        answers = await _answers(plan, first, requests)
        totals = first.totals
        shortcuts = tuple(totals.shortcuts)
        journal.write(
            RunFinished(
                first.now(),
                answers,
                totals.usage,
                journal.first_output_at,
                shortcuts,
                totals.calls,
                plan.reports_total_usage,
            )
        )
        return
    except ClientGone as error:
        failure, status = error, "cancelled"
    except ChorusError as error:
        failure = error
    except Exception as error:
        _log.error("run crashed", request_id=job.request_id, workflow_id=job.workflow_id, exc_info=error)
        failure = Internal()
    except BaseException:
        failure = gone(job.cancel_signal)
        journal.write(RunFailed(first.now(), failure, "cancelled", first.totals.usage))
        raise
    failure.__traceback__ = failure.__cause__ = failure.__context__ = None
    journal.write(RunFailed(first.now(), failure, status, first.totals.usage))


async def _prepared(prepare: Callable[[Run], Awaitable[Sequence[ChatRequest]]], first: Run) -> Sequence[ChatRequest]:
    """Return the requests that `prepare` makes, of which `first` gets the first one."""
    signal = first.cancel_signal
    requests = await (prepare(first) if signal is None else run_until(signal, partial(prepare, first)))
    first.request = requests[0]
    return requests


def _first(plan: Plan, job: Job, models: Mapping[str, Model], kinds: Mapping[str, NodeKind], journal: Journal) -> Run:
    """Return the run of the first request, which begins now."""
    clock = running_clock()
    began = clock()
    return Run(
        job.requests[0],
        job.request_id,
        models,
        kinds,
        journal,
        Random(plan.seed) if plan.seed is not None else _RANDOM,
        clock,
        began,
        streaming=job.streaming,
        slots=anyio.CapacityLimiter(plan.max_parallel) if plan.max_parallel is not None else None,
        deadline=began + plan.total if plan.total is not None else math.inf,
        budget=plan.budget,
        cancel_signal=job.cancel_signal if _is_one_call(plan, job) else None,
        outgoing=job.outgoing,
        learner=job.learner,
    )


async def _answers(plan: Plan, first: Run, requests: Sequence[ChatRequest]) -> tuple[Answer, ...]:
    """Return one answer per request. Several run side by side, each as a nested run of its own."""
    if len(requests) == 1:
        return (await _perform(plan.root, first, ()),)
    answers: list[Answer | None] = [None] * len(requests)
    failures: list[Exception] = []

    async def answer(index: int) -> None:
        run = replace(first, request=requests[index], choice=index, analyses={})
        path = (str(index),)
        try:
            with run.stage(path, "worker", f"choice {index}", is_group=True, place=Place(index)) as stage:
                answers[index] = await _perform(plan.root, run, path)
                stage.finish(answer=answers[index])
        except Exception as error:  # the group would wrap it; the first failure ends the others
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index in range(len(requests)):
            group.start_soon(cancelled_with, group.cancel_scope, answer, index)
    if failures:
        raise failures[0]
    return tuple(whole for whole in answers if whole is not None)


async def _perform(node: Flow | Leaf, run: Run, path: tuple[str, ...]) -> Answer:
    """Return the answer of the plan's root, written as the output of the run."""
    if isinstance(node, Flow):
        return await flow.perform(run, path, node, output=True)
    return await single.relay(run, (*path, "0"), node)
