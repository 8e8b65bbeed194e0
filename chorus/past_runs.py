"""The runs of the past: the traces of this process in its memory, those of all processes in the store.

Above: `service`. Below: `telemetry` keeps this process's, `storage` everybody's. A run is written
behind: no request waits for the store. A trace is made only then, and under load several are
written together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec
import structlog

from chorus import wirejson
from chorus.errors import ChorusError, NotFound, StorageUnavailable
from chorus.events import Event, RunFailed, RunFinished
from chorus.journal import Journal, Observer
from chorus.storage.base import Traces
from chorus.storage.behind import Key, WriteBehind
from chorus.storage.records import Trace
from chorus.tasks import surviving
from chorus.telemetry import kept_requests
from chorus.telemetry.trace_store import KeptRun, TraceStore
from chorus.telemetry.trace_summary import TraceFilter, trace_summary
from chorus.types import ChatRequest

MAX_UNSAVED: Final = 256
_MAX_UNSAVED_BYTES: Final = 32 * 1024 * 1024
"""Runs that may wait to be written, and about how many bytes of them; further ones are in memory only."""
_TOGETHER: Final = 16
"""Traces that are made and written at a time: making one takes about 0.1 ms of the event loop."""
MAX_LISTED: Final = 1000
"""Traces that are listed, or searched, at once."""
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
        self._is_due = False

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
            return msgspec.Raw((await self._stored(workflow_id)).details)

    async def requests(self, workflow_id: str) -> Sequence[ChatRequest]:
        """Return the requests of a run that has ended. Raises as `trace` does."""
        try:
            return self._memory.requests(workflow_id)
        except NotFound:
            stored = await self._stored(workflow_id)
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
        for kept in await self._newest(limit if wanted.is_empty else MAX_LISTED, away):
            await anyio.lowlevel.checkpoint()  # each takes about 0.1 ms of the event loop
            row = kept if isinstance(kept, bytes) else kept.details()
            if in_short or not wanted.is_empty:
                try:
                    summary = trace_summary(row)
                except msgspec.ValidationError:  # kept by another version of Chorus
                    continue
                if not wanted.wants(summary):
                    continue
            rows.append(summary if in_short else msgspec.Raw(row) if isinstance(row, bytes) else row)
            if len(rows) == limit:
                break
        return rows

    async def _newest(self, limit: int, away: Callable[[], None]) -> list[KeptRun | bytes]:
        """Return the newest runs, those of the store as the JSON texts of their traces."""
        if self._store is None:
            return [*self._memory.recent(limit)]
        unsaved = [*reversed(self._unsaved.values())]
        try:
            stored = await self._store.recent(None, limit)
        except StorageUnavailable as problem:
            _log.warning("storage: only traces of this process are listed", problem=problem.log_message)
            self._count()
            away()
            return [*self._memory.recent(limit)]
        ids = {run.workflow_id for run in unsaved}
        older = [details for details in stored if _id_decoder.decode(details).workflow_id not in ids]
        newest: list[KeptRun | bytes] = [*unsaved, *older]
        return newest[:limit]

    async def _stored(self, workflow_id: str) -> Trace:
        found = await self._store.get(None, workflow_id) if self._store is not None else None
        if found is None:
            raise NotFound("No workflow of this id is kept; `[trace] keep` sets how many are.")
        return found

    def _save_soon(self, run: KeptRun) -> None:
        """Let `run` be written to the store. Never waits."""
        if len(self._unsaved) >= MAX_UNSAVED or self._unsaved_bytes + run.size > _MAX_UNSAVED_BYTES:
            self._lost("too many traces wait")
            return
        before = self._unsaved.pop(run.workflow_id, None)
        self._unsaved[run.workflow_id] = run
        self._unsaved_bytes += run.size - (before.size if before is not None else 0)
        self._schedule()

    def _schedule(self) -> None:
        self._is_due = self._is_due or self._writes.add(_KEY, 0, self._save) is not None
        if not self._is_due:
            self._unsaved.clear()
            self._unsaved_bytes = 0

    async def _save(self) -> None:
        """Write the runs that wait."""
        waiting = [*self._unsaved.values()]
        failed: list[ChorusError] = []
        try:
            for first in range(0, len(waiting), _TOGETHER):
                async with anyio.create_task_group() as group:
                    for run in waiting[first : first + _TOGETHER]:
                        group.start_soon(self._put, run, failed)
        finally:
            for run in waiting:
                if self._unsaved.get(run.workflow_id) is run:  # else it was extended meanwhile, and is written again
                    del self._unsaved[run.workflow_id]
                    self._unsaved_bytes -= run.size
            self._is_due = False
            for problem in failed:
                self._lost(problem.log_message)
            if self._unsaved:
                self._schedule()

    def _lost(self, reason: str) -> None:
        self._count()
        self._writes.lost("traces", reason)

    async def _put(self, run: KeptRun, failed: list[ChorusError]) -> None:
        assert self._store is not None
        with surviving("a trace could not be kept"):
            details = wirejson.encode(run.details())
            requests = kept_requests.encoded(run.requests)
            try:
                await self._store.put(Trace(run.owner, run.workflow_id, details, requests))
            except ChorusError as problem:
                failed.append(problem)


class _Named(msgspec.Struct):
    workflow_id: str


_id_decoder: Final = msgspec.json.Decoder(_Named)
