"""Learning while serving: outcomes of runs go to the store, and learned routes read them from it.

Above: `service`. Below: `workflow.learned_route` decides, `workflow.outcomes` reads runs, `storage`
keeps. Nothing here is on the path of a workflow that does not learn, and no request fails by it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Final

import anyio
import msgspec
import structlog

from chorus.errors import ChorusError
from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.journal import Observer
from chorus.snapshot import Snapshot
from chorus.storage.behind import Write, WriteBehind
from chorus.storage.outcomes import Outcomes
from chorus.storage.records import VERDICT, Credit, Outcome
from chorus.tasks import surviving
from chorus.workflow import outcomes as reading
from chorus.workflow.engine import Job, Plan
from chorus.workflow.learned_route import Counts, Known, Learned, discounted
from chorus.workflow.plan import Flow

MAX_COMMENT: Final = 2000
"""Characters of the comment of a feedback."""
_FRESH_SECS: Final = 1.0
"""For so long what was read is known without reading it again."""
_READ_SECS: Final = 0.25
"""How long a request waits for the store. Then it goes on with what was known before."""
_AWAY_SECS: Final = 2.0
"""For so long a store that was away is not asked again."""
_AWAY: Final = "The store of outcomes is away: workers were picked by what was known before."

_log = structlog.get_logger("chorus.storage")


class Learning:
    """The outcomes of all runs, and what they say of the workers of learned routes."""

    def __init__(
        self,
        store: Outcomes,
        writes: WriteBehind,
        events_of: Callable[[str, str], Awaitable[Sequence[Event]]],
        snapshot: Callable[[], Snapshot],
        count: Callable[[str], None] = lambda kind: None,
        rng: Random | None = None,
    ) -> None:
        """`snapshot` returns what is served.

        `events_of` returns the events of a run by its id and owner. `count` is called with
        "learning" for each request that goes on without the store.
        """
        self._store = store
        self._writes = writes
        self._events_of = events_of
        self._snapshot = snapshot
        self._count = partial(count, "learning")
        self._rng = rng or Random()
        self._known: dict[str, _Known] = {}

    def job(self, plan: Plan, job: Job) -> Job:
        """Return `job` as it runs `plan`.

        A learned route gets what is known, and its run is an outcome when it is over.
        """
        settings = settings_of(plan)
        if settings is None:
            return job
        known = self._known.get(plan.name)
        if known is None or known.settings != settings:
            known = self._known[plan.name] = _Known(plan.name, settings, self._store, self._count, self._rng)
        observers = (*job.observers, self._observer(plan.name, settings, job.workflow_id))
        return msgspec.structs.replace(job, observers=observers, learner=known)

    async def give_feedback(self, owner: str, run: str, score: float, comment: str) -> tuple[Outcome, bool]:
        """Keep what `owner` says of its run, in place of what it said before.

        `score` is from 0 to 1. Returns it, and whether the store has it already; else it is written
        as soon as the store is there.

        Raises:
            NotFound: there is no such run of this owner, or it is not kept any more.
            StorageUnavailable: it is another process's run, and the store is away.
        """
        events = await self._events_of(run, owner)
        started = events[0]
        assert isinstance(started, RunStarted)
        plan = self._snapshot().plans.get(started.workflow)
        settings = settings_of(plan) if plan is not None else None
        credits: tuple[Credit, ...] = ()
        if settings is not None:
            # the bucket is that of the run: what is said late of a model is true of what it was
            # then
            credits = _credits(reading.feedback_credits(events, score), settings, started.started_at)
        outcome = Outcome(run, owner, started.workflow, time.time(), credits, score, comment)
        write = self._write(outcome, claims=True)
        try:
            is_kept = await self._writes.kept(write)
        finally:
            self._writes.release(write)
        if (known := self._known.get(started.workflow)) is not None:
            known.expire()
        return outcome, is_kept

    async def feedback_of(self, run: str, workflow: str) -> list[Outcome]:
        """Return the feedback on a run of `workflow`, oldest first; nothing without the store."""
        try:
            await self._writes.settled_all("learning", workflow)
            return [outcome for outcome in await self._store.get(run) if outcome.source != VERDICT]
        except ChorusError as problem:
            _log.warning("storage: a trace is shown without its feedback", problem=problem.log_message)
            self._count()
            return []

    async def counts(self, workflow: str, settings: Learned) -> Known:
        """Return what is known of the workers of a workflow, as it counts now. Raises
        StorageUnavailable."""
        await self._writes.settled_all("learning", workflow)
        return await _counts(self._store, workflow, settings)

    async def reset(self, workflow: str | None) -> None:
        """Forget what is known of the workers of a workflow; None: of all. Raises
        StorageUnavailable."""
        for name in [workflow] if workflow is not None else [*self._known]:
            await self._writes.settled_all("learning", name)
        await self._store.reset(workflow)
        for known in self._known.values():
            known.expire()

    def _observer(self, workflow: str, settings: Learned, run: str) -> Observer:
        events: list[Event] = []

        def observe(event: Event) -> None:
            if not isinstance(event, Delta):
                events.append(event)
            if isinstance(event, RunFinished | RunFailed):
                with surviving("an outcome could not be read"):
                    now = time.time()
                    credits = _credits(reading.verdict_credits(events), settings, now)
                    if credits:
                        self._write(Outcome(run, VERDICT, workflow, now, credits))

        return observe

    def _write(self, outcome: Outcome, *, claims: bool = False) -> Write | None:
        key = ("learning", outcome.workflow, f"{outcome.run} {outcome.source}")
        size = 500 + len(outcome.comment) + 200 * len(outcome.credits)
        return self._writes.add(key, size, partial(self._store.put, outcome), claims=claims)


class _Known:
    """What is known of one workflow. See `workflow.run.Learner`."""

    def __init__(
        self, workflow: str, settings: Learned, store: Outcomes, count: Callable[[], None], rng: Random
    ) -> None:
        self.settings = settings
        self.rng = rng
        self._workflow = workflow
        self._store = store
        self._count = count
        self._counts: Known = {}
        self._until = 0.0
        self._is_away = self._was_read = False

    def expire(self) -> None:
        """Make the next request read the store again, unless the store is away."""
        if not self._is_away:
            self._until = 0.0

    async def known(self) -> tuple[Known, str]:
        """See `workflow.run.Learner`."""
        if time.monotonic() >= self._until:
            if self._was_read:  # other requests go on with what is known meanwhile
                self._until = time.monotonic() + _FRESH_SECS
            try:
                with anyio.fail_after(_READ_SECS):
                    self._counts = await _counts(self._store, self._workflow, self.settings)
                self._is_away, self._was_read = False, True
            except (TimeoutError, ChorusError) as problem:
                _log.warning("storage: outcomes cannot be read", workflow=self._workflow, problem=repr(problem))
                self._is_away = True
            self._until = time.monotonic() + (_AWAY_SECS if self._is_away else _FRESH_SECS)
        if self._is_away:
            self._count()
        return self._counts, _AWAY if self._is_away else ""


def settings_of(plan: Plan) -> Learned | None:
    """Return how `plan` learns; None where it does not."""
    return plan.root.learned if isinstance(plan.root, Flow) else None


async def _counts(store: Outcomes, workflow: str, settings: Learned) -> Known:
    now = time.time()
    rows = await store.query(workflow, settings.oldest(now))
    return discounted(((row.task_type, row.worker, row.bucket, _counts_of(row)) for row in rows), settings, now)


def _counts_of(row: Credit) -> Counts:
    return Counts(row.feedback, row.liked, row.verdicts, row.won, row.answers, row.tokens)


def _credits(read: Sequence[reading.Credit], settings: Learned, at: float) -> tuple[Credit, ...]:
    """Return what was read of a run as the store keeps it."""
    bucket = settings.bucket(at)
    return tuple(
        Credit(
            credit.task_type,
            credit.worker,
            bucket,
            credit.counts.feedback,
            credit.counts.liked,
            credit.counts.verdicts,
            credit.counts.won,
            credit.counts.answers,
            credit.counts.tokens,
        )
        for credit in read
    )
