"""The runs of this process: those that are live, and the last ones that have ended, with their
journals (O4).

Above: `runs` enters each run here, `server` lists and follows them. Below: the journal. A run that
is entered costs two operations on dictionaries; everything shown of it is read from its journal
when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from typing import Final, Literal

from chorus.auth.principal import LOCAL, Principal
from chorus.cancellation import CancelSignal
from chorus.errors import ChorusError, NotFound, RunCancelled
from chorus.events import RunFailed, RunFinished, RunStarted, StageStarted
from chorus.journal import Journal
from chorus.sizes import VALUE_BYTES

MAX_ENDED: Final = 128
MAX_ENDED_BYTES: Final = 32 * 1024 * 1024
"""How many journals of runs that have ended are kept for late readers, and about how many bytes."""
_MAX_NEWS: Final = 10_000
"""Ended runs that wait to be counted: more than a process answers in a second."""
_RUN_BYTES: Final = 4096
"""Of a run beside the texts of its answers."""
_CHARACTERS_OF_A_TOKEN: Final = 4
_BEGINNING: Final = 4
"""Events among which the first stage stands, where a run has one."""

RunState = Literal["queued", "running", "completed", "failed", "cancelled"]


class LiveRun:
    """One run of `owner`, who is the key of the caller. `route` is where the request came in; ""
    for one that came by no route."""

    __slots__ = ("_disconnect", "_runs", "cancel_signal", "id", "journal", "model", "owner", "route", "started_at")

    def __init__(
        self, runs: LiveRuns, run_id: str, model: str, caller: Principal | None, disconnect: CancelSignal | None
    ) -> None:
        """`disconnect` says that the client has disconnected, which cancels the run."""
        self._runs = runs
        self.id = run_id
        self.model = model
        self.owner = caller.owner if caller is not None else LOCAL
        self.route = caller.route if caller is not None else ""
        self.started_at = time.time()
        """Seconds since 1970."""
        self.journal: Journal
        self.cancel_signal = CancelSignal()
        self._disconnect = disconnect

    def watch_client(self) -> None:
        """Cancel the run when its client disconnects, until `leave_client`."""
        if self._disconnect is not None:
            self._disconnect.subscribe(self.cancel_signal.set)

    def enter(self, journal: Journal) -> None:
        """Enter the run among the live ones, with its journal, which is empty still."""
        self.journal = journal
        self._runs.begin(self)

    def refuse(self, code: str) -> None:
        """Note that the run was refused before it began, with the code of the error."""
        self._runs.refuse(self, code)

    def leave(self) -> None:
        """Watch the client no more; the run has ended."""
        if self._disconnect is not None:
            self._disconnect.unsubscribe(self.cancel_signal.set)
            self._disconnect = None
        self._runs.end(self)

    async def cancel(self) -> None:
        """Stop the run, and wait until its journal says so.

        Its client reads `RunCancelled`. One that is over stays as it is.
        """
        if self.is_over:
            return
        self.cancel_signal.set(RunCancelled())
        await self.journal.ended()

    @property
    def is_over(self) -> bool:
        """Whether no event follows."""
        return self.journal.closed

    @property
    def state(self) -> RunState:
        """How far the run is. It is queued until its first stage begins."""
        events = self.journal.events
        over = events[-1] if events else None
        if isinstance(over, RunFinished):
            return "completed"
        if isinstance(over, RunFailed):
            return over.status
        has_begun = any(isinstance(event, StageStarted) for event in events[:_BEGINNING])
        return "running" if has_begun else "queued"

    @property
    def tokens(self) -> int:
        """How many tokens the models have written so far: estimated from the length of their texts
        while the run is live, as reported or estimated by its calls when it is over."""
        events = self.journal.events
        over = events[-1] if events else None
        if isinstance(over, RunFinished | RunFailed):
            return over.usage.completion_tokens
        characters = self.journal.size - VALUE_BYTES * len(events)
        return max(characters, 0) // _CHARACTERS_OF_A_TOKEN

    @property
    def workflow(self) -> str | None:
        """The name of the plan that runs; None while nothing stands in the journal."""
        first = self.journal.events[0] if self.journal.events else None
        return first.workflow if isinstance(first, RunStarted) else None

    @property
    def secs(self) -> float:
        """How long the run took, or has taken so far."""
        over = self.journal.events[-1] if self.journal.events else None
        if isinstance(over, RunFinished | RunFailed):
            return over.at
        return max(time.time() - self.started_at, 0.0)

    @property
    def error(self) -> ChorusError | None:
        """Why the run failed; None where it has not."""
        over = self.journal.events[-1] if self.journal.events else None
        return over.error if isinstance(over, RunFailed) else None


class LiveRuns:
    """The runs of one process. A run of another owner does not exist for a caller."""

    def __init__(self, max_ended: int = MAX_ENDED, max_bytes: int = MAX_ENDED_BYTES) -> None:
        self._max_ended = max_ended
        self._max_bytes = max_bytes
        self._live: dict[str, LiveRun] = {}
        self._ended: OrderedDict[str, tuple[LiveRun, int]] = OrderedDict()
        self._ended_bytes = 0
        self._news: deque[tuple[str, LiveRun | str]] = deque(maxlen=0)

    def entry(self, run_id: str, model: str, caller: Principal | None, disconnect: CancelSignal | None) -> LiveRun:
        """Return the entry of a run that is to begin; it is listed from `LiveRun.enter` on."""
        return LiveRun(self, run_id, model, caller, disconnect)

    def begin(self, run: LiveRun) -> None:
        """Enter a run whose journal is still empty."""
        self._live[run.id] = run

    def end(self, run: LiveRun) -> None:
        """Take over a run that has ended, for late readers. The oldest ones leave."""
        if self._live.get(run.id) is not run:
            return
        del self._live[run.id]
        if not run.journal.closed:  # it was never begun
            return
        self._news.append((run.owner, run))
        run.journal.release_observers()
        size = _RUN_BYTES + 2 * run.journal.size  # the answers stand in the ends of the stages, too
        _, before = self._ended.pop(run.id, (run, 0))
        self._ended[run.id] = (run, size)
        self._ended_bytes += size - before
        while len(self._ended) > self._max_ended or (self._ended_bytes > self._max_bytes and len(self._ended) > 1):
            _, (_, gone) = self._ended.popitem(last=False)
            self._ended_bytes -= gone

    def refuse(self, run: LiveRun, code: str) -> None:
        """Note that a run was refused before it began, with the code of the error."""
        self._news.append((run.owner, code))

    def collect(self) -> None:
        """Keep what ends from now on for `take_ended`, which is to be called every second."""
        self._news = deque(maxlen=_MAX_NEWS)

    def take_ended(self) -> list[tuple[str, LiveRun | str]]:
        """Return the runs that have ended since this was called last, and the codes of those that
        were refused, each with its owner."""
        news = [*self._news]
        self._news.clear()
        return news

    def live_counts(self) -> Counter[str]:
        """Return how many runs of each owner are live."""
        return Counter(run.owner for run in self._live.values())

    def get(self, owner: str | None, run_id: str) -> LiveRun:
        """Return the run of this id of `owner`; of anybody where that is None.

        Raises:
            NotFound: it is unknown, another owner's, or too old to be kept.
        """
        run = self._live.get(run_id)
        if run is None and run_id in self._ended:
            run = self._ended[run_id][0]
        if run is None or owner not in (None, run.owner):
            raise NotFound("This server knows no run of this id, or does not keep its events any more.")
        return run

    def newest(self, owner: str | None, limit: int) -> list[LiveRun]:
        """Return the live runs of `owner`, and those that ended last, newest first; of anybody
        where `owner` is None."""
        ended = (run for run, _ in reversed(self._ended.values()))
        runs = [run for run in (*self._live.values(), *ended) if owner in (None, run.owner)]
        runs.sort(key=lambda run: (not run.is_over, run.started_at), reverse=True)
        return runs[:limit]
