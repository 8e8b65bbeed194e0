"""The usage of this process on its way to the store.

Requests of one second become one row for each key, user, model and day: no request waits for the
store, and a relayed request costs a few additions.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final

import anyio
import structlog

from chorus.auth.principal import Principal
from chorus.errors import StorageUnavailable
from chorus.events import Event, Path, RunStarted, StageFinished, StageStarted
from chorus.journal import Observer
from chorus.storage.base import UsageCounts
from chorus.storage.records import DAY_SECS, UsageRow
from chorus.tasks import cancelled_at_end, surviving
from chorus.usage import Usage

FLUSH_SECS: Final = 1.0
"""Seconds for which counts are gathered before they are written."""
MAX_ROWS: Final = 10_000
"""Rows that may wait for a store that is away. Further users are counted as the user "": keys and
models are bounded by the configuration, users are not."""
_ROWS_AT_ONCE: Final = 200
"""Rows of one write: Redis does it in one step, within a second."""
_WRITE_SECS: Final = 10.0
"""How long one write may take: SQLite waits 5 s for a lock, Redis 1 s for an answer."""
_LAST_WRITE_SECS: Final = 10.0
"""How long a server that stops waits for its last counts."""

_Place = tuple[str, str, str, str]
"""Key, user, model and day: the identity of a row."""
_log = structlog.get_logger("chorus.usage")


class _Counts:
    """The counts of one row."""

    __slots__ = ("calls", "completion_tokens", "cost", "prompt_tokens", "requests")

    def __init__(self) -> None:
        self.requests = self.calls = self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0

    def add(self, other: _Counts) -> None:
        self.requests += other.requests
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost += other.cost


class UsageLedger:
    """Counts usage and writes it to `store` every second."""

    def __init__(self, store: UsageCounts, failed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        """`failed` is called when a write fails; `clock` gives the seconds since 1970."""
        self.store = store
        self.clock = clock
        self._failed = failed
        self._waiting: dict[_Place, _Counts] = {}
        self._recorded: dict[str, float] = {}
        self._added = anyio.Event()
        self._writing = anyio.Lock()
        self._is_away = False
        self._day_number = -1
        self._day = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Write what is counted while the block lasts, and at its end what waits still."""
        try:
            async with cancelled_at_end() as group:
                group.start_soon(self._run)
                yield
        finally:
            with anyio.move_on_after(_LAST_WRITE_SECS, shield=True):
                await self._try_to_flush()
            if self._waiting:
                _log.error("usage is lost, since the store is away", rows=len(self._waiting))

    def observer(self, caller: Principal) -> Observer:
        """Return an observer that counts one run of `caller`."""
        return _RunUsage(self, caller)

    def request(self, caller: Principal, name: str) -> None:
        """Count one request of `caller` to the model or workflow called `name`."""
        self._counts(caller.owner, caller.user, name).requests += 1

    def call(self, caller: Principal, model: str, usage: Usage | None) -> None:
        """Count one call of `model`, which used `usage`."""
        owner = caller.owner
        counts = self._counts(owner, caller.user, model)
        counts.calls += 1
        if usage is not None:
            counts.prompt_tokens += usage.prompt_tokens
            counts.completion_tokens += usage.completion_tokens
            if usage.cost:
                counts.cost += usage.cost
                self._recorded[owner] = self._recorded.get(owner, 0.0) + usage.cost

    def today(self) -> date:
        """Return the day in UTC."""
        return datetime.fromtimestamp(self.clock(), UTC).date()

    def recorded_cost(self, owner: str) -> float:
        """Return the cost of all calls of `owner` that this process has counted."""
        return self._recorded.get(owner, 0.0)

    def waiting_cost(self, owner: str, start: date) -> float:
        """Return the cost of calls of `owner` since the day `start` that are not in the store."""
        first = start.isoformat()
        rows = self._waiting.items()
        return sum(counts.cost for (key, _, _, day), counts in rows if key == owner and day >= first)

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Let nothing be written to the store in this block: what waits is not in the store."""
        async with self._writing:
            yield

    async def flush(self) -> None:
        """Write what waits now. What is counted meanwhile waits for the next time.

        Raises:
            StorageUnavailable: the store is away, and what is not written goes on waiting; a write
                that a Redis has done without saying so is then counted twice. Or a write takes too
                long: it may have been done, and is not repeated.
        """
        async with self._writing:
            try:
                for places in _portions([*self._waiting]):
                    await self._write(places)
            finally:
                if self._waiting:
                    self._added.set()

    async def _write(self, places: Sequence[_Place]) -> None:
        """Write the rows of `places`. Raises StorageUnavailable as `flush` does."""
        rows = {place: self._waiting.pop(place) for place in places}
        try:
            # shielded: a write that is cancelled may have been done, and must not be repeated
            with anyio.fail_after(_WRITE_SECS, shield=True):
                await self.store.add(*map(_row, rows.keys(), rows.values()))
        except StorageUnavailable:
            for place, counts in rows.items():
                newer = self._waiting.setdefault(place, counts)
                if newer is not counts:
                    newer.add(counts)
            raise
        except TimeoutError:
            raise StorageUnavailable("A write takes too long; its usage may not be counted.") from None

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            await anyio.sleep(FLUSH_SECS)
            self._added = anyio.Event()
            await self._try_to_flush()

    async def _try_to_flush(self) -> None:
        """Write what waits, and log where that begins or ceases to fail."""
        with surviving("usage could not be written"):
            try:
                await self.flush()
            except StorageUnavailable as problem:
                self._failed()
                if not self._is_away:
                    _log.warning("usage is not written", problem=problem.log_message)
                self._is_away = True
            else:
                if self._is_away:
                    _log.info("usage is written again")
                self._is_away = False

    def _counts(self, owner: str, user: str, model: str) -> _Counts:
        """Return the counts of a row of today."""
        number = int(self.clock() // DAY_SECS)
        if number != self._day_number:
            self._day_number, self._day = number, self.today().isoformat()
        counts = self._waiting.get((owner, user, model, self._day))
        if counts is None:
            if not self._waiting:
                self._added.set()
            place = (owner, user if len(self._waiting) < MAX_ROWS else "", model, self._day)
            counts = self._waiting.setdefault(place, _Counts())
        return counts


class _RunUsage:
    """An observer that counts one run: a request, and each call of a model. A nested workflow is no
    call, nor is a stage whose model was never asked; tries at several replicas are one."""

    __slots__ = ("_caller", "_ledger", "_models")

    def __init__(self, ledger: UsageLedger, caller: Principal) -> None:
        self._ledger = ledger
        self._caller = caller
        self._models: dict[Path, str] = {}

    def __call__(self, event: Event) -> None:
        """Take one event of the run."""
        if type(event) is StageStarted:
            if event.model is not None:
                self._models[event.path] = event.model
        elif type(event) is StageFinished:
            model = self._models.pop(event.path, None)
            if model is not None and event.attempts:
                self._ledger.call(self._caller, model, event.usage)
        elif type(event) is RunStarted:
            self._ledger.request(self._caller, event.workflow)


def _portions(places: Sequence[_Place]) -> Iterator[Sequence[_Place]]:
    """Yield `places` in portions of one write each."""
    for start in range(0, len(places), _ROWS_AT_ONCE):
        yield places[start : start + _ROWS_AT_ONCE]


def _row(place: _Place, counts: _Counts) -> UsageRow:
    return UsageRow(*place, counts.requests, counts.calls, counts.prompt_tokens, counts.completion_tokens, counts.cost)
