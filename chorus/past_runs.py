"""The runs of the past: the traces of this process in its memory, those of all processes in the
store.

Above: `service`. Below: `telemetry` keeps this process's, `storage` everybody's. A run is written
behind: no request waits for the store. Under load the runs of a quarter of a second are written
together, as their events; a trace is made of these when somebody reads it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec
import structlog

from chorus.errors import ChorusError, InvalidRequest, NotFound, StorageUnavailable
from chorus.events import Event, RunFailed, RunFinished
from chorus.journal import Journal, Observer
from chorus.storage.base import Traces
from chorus.storage.behind import Key, Write, WriteBehind
from chorus.storage.records import Trace
from chorus.tasks import cancelled_at_end, surviving
from chorus.telemetry import kept_events, kept_requests
from chorus.telemetry.trace import workflow_details
from chorus.telemetry.trace_store import MAX_STORED_REQUESTS, NOT_KEPT, KeptRun, TraceStore
from chorus.telemetry.trace_summary import TraceFilter, trace_summary
from chorus.types import ChatRequest

MAX_UNSAVED: Final = 1024
_MAX_UNSAVED_BYTES: Final = 32 * 1024 * 1024
"""Runs that may wait to be written, and about how many bytes of them.

Further ones are in memory only.
"""
_GATHER_SECS: Final = 0.25
"""For how long runs are gathered since the last write. One that follows none is written at once."""
_TOGETHER: Final = 256
_BYTES_TOGETHER: Final = 1024 * 1024
"""Runs of one write, and about how many bytes of them: 1 ms of the event loop.

So many do not wait.
"""
MAX_LISTED: Final = 1000
"""Traces that are listed, or searched, at once."""
_TOO_LARGE: Final = (
    f"The requests of this workflow are larger than {MAX_STORED_REQUESTS >> 20} MiB: "
    "only the process that answered them can run them again."
)
_EVERY: Final = TraceFilter()
_KEY: Final[Key] = ("traces", "", "")

_log = structlog.get_logger("chorus.storage")


class PastRuns:
    """Traces by the ids of their runs, with the requests that were answered."""

    def __init__(
        self, memory: TraceStore, store: Traces | None, writes: WriteBehind, count: Callable[[], None] = lambda: None
    ) -> None:
        """`store` is None where no other process would see it. `count` is called for each trace
        that goes on without the store, and each list."""
        self._count = count
        self._memory = memory
        self._store = store
        self._writes = writes
        self._unsaved: dict[str, KeptRun] = {}
        self._unsaved_bytes = 0
        self._write: Write | None = None
        """The next write, or the one that is done now."""
        self._saved_at = -math.inf
        self._added = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Write runs to the store while the block lasts, and let `writes` do the rest at its
        end.
        """
        try:
            async with cancelled_at_end() as group:
                group.start_soon(self._release_writes)
                yield
        finally:
            self._memory.flush()
            self._schedule()
            self._writes.release(self._write)

    def recorder(self, requests: Sequence[ChatRequest], owner: str) -> Observer:
        """Return an observer that keeps the trace of one run of `requests` for `owner`."""
        return self._memory.recorder(requests, owner, self._save_soon if self._store is not None else None)

    def extend(self, workflow_id: str, events: Sequence[Event]) -> None:
        """Add `events` that came after the end of a run to its trace, if that is still kept."""
        run = self._memory.extend(workflow_id, events)
        if run is not None and self._store is not None:
            self._save_soon(run)

    def note(self, workflow_id: str, sentence: str) -> None:
        """Add `sentence` to the notes of a run that has ended, if it is still kept."""
        run = self._memory.note(workflow_id, sentence)
        if run is not None and self._store is not None:
            self._save_soon(run)

    def note_at_end(self, journal: Journal, sentence: str) -> None:
        """Add `sentence` to the notes of the run of `journal`, when it is over."""

        def observe(event: Event) -> None:
            if isinstance(event, RunFinished | RunFailed):
                self.note(journal.workflow_id, sentence)

        journal.observe(observe)

    async def trace(self, workflow_id: str) -> Any:
        """Return the trace of a run that has ended, as a JSON value.

        Raises:
            NotFound: it is unknown, or older than the traces that are kept.
            StorageUnavailable: it is not this process's, and the store is away.
        """
        try:
            return self._memory.get(workflow_id)
        except NotFound:
            stored = await self._stored(workflow_id)
        try:
            return _details(stored.events)
        except msgspec.DecodeError as problem:
            raise NotFound("This trace was kept by another version of Chorus.") from problem

    async def events(self, workflow_id: str, owner: str) -> Sequence[Event]:
        """Return the events of a run of `owner` that has ended. Raises as `trace` does; another
        owner's run is not found."""
        events = self._memory.events(workflow_id, owner)
        if events is not None:
            return events
        stored = await self._stored(workflow_id, owner)
        try:
            return kept_events.decoded(stored.events)
        except msgspec.DecodeError as problem:
            raise NotFound("This trace was kept by another version of Chorus.") from problem

    async def requests(self, workflow_id: str) -> Sequence[ChatRequest]:
        """Return the requests of a run that has ended. Raises as `trace` does."""
        try:
            return self._memory.requests(workflow_id)
        except NotFound:
            stored = await self._stored(workflow_id)
        if not stored.requests:
            raise NotFound(_TOO_LARGE)
        try:
            return kept_requests.decoded(stored.requests)
        except msgspec.DecodeError as problem:
            raise NotFound("The requests of this workflow were kept by another version of Chorus.") from problem

    async def recent(
        self,
        limit: int = 50,
        away: Callable[[], None] = lambda: None,
        *,
        wanted: TraceFilter = _EVERY,
        in_short: bool = False,
    ) -> list[Any]:
        """Return the newest traces that are `wanted` as JSON values, newest first: those of all
        processes. While the store is away they are those of this one, and `away` is called.
        `in_short` returns their summaries.

        A filter is applied to the newest `MAX_LISTED` traces.
        """
        rows: list[Any] = []
        for run in await self._newest(limit if wanted.is_empty else MAX_LISTED, away):
            await anyio.lowlevel.checkpoint()  # each takes about 0.1 ms of the event loop
            try:
                row = run.details() if isinstance(run, KeptRun) else _details(run)
            except msgspec.DecodeError:  # kept by another version of Chorus
                continue
            if in_short or not wanted.is_empty:
                summary = trace_summary(row)
                if not wanted.wants(summary):
                    continue
            rows.append(summary if in_short else row)
            if len(rows) == limit:
                break
        return rows

    async def _newest(self, limit: int, away: Callable[[], None]) -> list[KeptRun | bytes]:
        """Return the newest runs, those of the store as the texts of their events."""
        if self._store is None:
            return [*self._memory.recent(limit)]
        self._memory.flush()
        unsaved = [*reversed(self._unsaved.values())]
        try:
            stored = await self._store.recent(limit)
        except StorageUnavailable as problem:
            _log.warning("storage: only traces of this process are listed", problem=problem.log_message)
            self._count()
            away()
            return [*self._memory.recent(limit)]
        ids = {run.workflow_id for run in unsaved}
        newest: list[KeptRun | bytes] = [*unsaved, *(events for id, events in stored if id not in ids)]
        return newest[:limit]

    async def _stored(self, workflow_id: str, owner: str | None = None) -> Trace:
        """Return a run of the store, of `owner` where one is given.

        One that another process has just ended is written soon.
        """
        if self._store is not None:
            if (trace := await self._store.get(owner, workflow_id)) is not None:
                return trace
            await anyio.sleep(1.5 * _GATHER_SECS)
            if (trace := await self._store.get(owner, workflow_id)) is not None:
                return trace
        raise NotFound(NOT_KEPT)

    def _save_soon(self, run: KeptRun) -> None:
        """Let `run` be written to the store. Never waits."""
        if len(self._unsaved) >= MAX_UNSAVED or self._unsaved_bytes + run.size > _MAX_UNSAVED_BYTES:
            self._lost("too many traces wait")
            return
        before = self._unsaved.pop(run.workflow_id, None)
        self._unsaved[run.workflow_id] = run
        self._unsaved_bytes += run.size - (before.size if before is not None else 0)
        self._schedule()
        if len(self._unsaved) >= _TOGETHER or self._unsaved_bytes >= _BYTES_TOGETHER:
            self._writes.release(self._write)

    def _schedule(self) -> None:
        """Add a write of the runs that wait, where there is none."""
        if self._write is not None or not self._unsaved:
            return
        self._write = self._writes.add(_KEY, 0, self._save, claims=True)
        if self._write is None:
            self._unsaved.clear()
            self._unsaved_bytes = 0
        self._added.set()

    async def _release_writes(self) -> None:
        """Let each write be done when runs were gathered for long enough."""
        while True:
            await self._added.wait()
            self._added = anyio.Event()
            self._schedule()
            await anyio.sleep_until(self._saved_at + _GATHER_SECS)
            self._writes.release(self._write)

    async def _save(self) -> None:
        """Write the runs that wait."""
        waiting = [*self._unsaved.values()]
        try:
            for runs in _portions(waiting):
                await self._put(runs)
        finally:
            for run in waiting:
                # else it was extended meanwhile, and is written again
                if self._unsaved.get(run.workflow_id) is run:
                    del self._unsaved[run.workflow_id]
                    self._unsaved_bytes -= run.size
            self._saved_at = anyio.current_time()
            self._write = None
            if self._unsaved:  # a write that is added now, beside the one that ends, would not wait
                self._added.set()

    async def _put(self, runs: Sequence[KeptRun]) -> None:
        assert self._store is not None
        with surviving("traces could not be kept"):
            try:
                await self._store.put([*_written(runs)])
            except ChorusError as problem:
                for _ in runs[: 1 if isinstance(problem, InvalidRequest) else None]:
                    self._lost(problem.log_message)

    def _lost(self, reason: str) -> None:
        self._count()
        self._writes.lost("traces", reason)


def _portions(runs: Iterable[KeptRun]) -> Iterator[Sequence[KeptRun]]:
    """Yield `runs` in portions that are written together."""
    portion: list[KeptRun] = []
    size = 0
    for run in runs:
        portion.append(run)
        size += run.size
        if len(portion) == _TOGETHER or size >= _BYTES_TOGETHER:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _written(runs: Iterable[KeptRun]) -> Iterator[Trace]:
    """Yield the records of `runs` that can be written."""
    for run in runs:
        with surviving("a trace could not be kept"):
            yield Trace(run.owner, run.workflow_id, *run.texts())


def _details(events: bytes) -> dict[str, Any]:
    """Return the trace of a run by the text of its events. Raises msgspec.DecodeError."""
    return workflow_details(kept_events.decoded(events), is_kept=True)
