"""The traces of the last runs, with the requests that they answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from chorus.auth.principal import LOCAL
from chorus.batched import Batched
from chorus.errors import NotFound
from chorus.events import Event, RunFailed, RunFinished, RunStarted
from chorus.journal import Observer
from chorus.sizes import size_of_event
from chorus.tasks import surviving
from chorus.telemetry import kept_events, kept_requests
from chorus.telemetry.kept_requests import KeptRequest, packed
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest

NOT_KEPT: Final = "No workflow of this id is kept; `[trace] keep` sets how many are."
_RUN_BYTES: Final = 500
"""Of a run beside its texts."""
_SMALL_BYTES: Final = 64 * 1024
"""Runs up to this size are kept as texts.

A run is 100 objects; those of 1,000 runs push what requests need out of a processor's cache. The
texts of a larger run would be copies of it."""

MAX_STORED_REQUESTS: Final = 1024 * 1024
"""Bytes of the requests of a run that go to the store. Six of 10 MB, with images, would push all
other traces out of it, and each takes 18 ms to write."""


class KeptRun(msgspec.Struct, frozen=True, gc=False):
    """A run that has ended, with its `events` and the `requests` that it answered: both as texts
    where it is small. `size` is about how many bytes it holds.
    """

    workflow_id: str
    owner: str
    events: bytes | Sequence[Event]
    requests: bytes | Sequence[KeptRequest]
    size: int

    def details(self) -> dict[str, Any]:
        """Return its trace, with its answers. Takes about 0.1 ms."""
        return workflow_details(self.read_events(), is_kept=True)

    def read_events(self) -> Sequence[Event]:
        """Return its events."""
        return kept_events.decoded(self.events) if isinstance(self.events, bytes) else self.events

    def read_requests(self) -> Sequence[ChatRequest]:
        """Return its requests."""
        if isinstance(self.requests, bytes):
            return kept_requests.decoded(self.requests)
        return [*map(kept_requests.unpacked, self.requests)]

    def texts(self) -> tuple[bytes, bytes]:
        """Return its events and requests as the store keeps them: without requests that are larger
        than `MAX_STORED_REQUESTS`."""
        events, requests = self.events, self.requests
        if not isinstance(requests, bytes):
            is_small = sum([kept.size for kept in requests]) <= MAX_STORED_REQUESTS
            requests = kept_requests.encoded(requests) if is_small else b""
        return events if isinstance(events, bytes) else kept_events.encoded(events), requests


def _kept(workflow_id: str, owner: str, events: Sequence[Event], requests: Sequence[KeptRequest]) -> KeptRun:
    size = sum(map(size_of_event, events)) + sum([kept.size for kept in requests])
    if size > _SMALL_BYTES:
        return KeptRun(workflow_id, owner, events, requests, size)
    texts = kept_events.encoded(events), kept_requests.encoded(requests)
    return KeptRun(workflow_id, owner, *texts, _RUN_BYTES + len(texts[0]) + len(texts[1]))


class _EndedRun(NamedTuple):
    """A run that has ended and is not kept yet."""

    owner: str
    events: Sequence[Event]
    requests: Sequence[KeptRequest]
    kept: Callable[[KeptRun], object] | None


class TraceStore:
    """The traces of the last `keep` runs with their requests, so that they can be run again; at
    most `max_bytes` of memory in all (`chorus/sizes.py`), but always the newest. Older ones go
    first."""

    def __init__(self, keep: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._keep = keep
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, KeptRun] = OrderedDict()
        self._ended: Batched[_EndedRun] = Batched(self._add_all)

    def recorder(
        self, requests: Sequence[ChatRequest], owner: str = LOCAL, kept: Callable[[KeptRun], object] | None = None
    ) -> Observer:
        """Return an observer that keeps the trace of one run of `requests` for `owner`, and calls
        `kept` with it. Deltas are not kept: each stage's end has its whole answer."""
        events: list[Event] = []

        def record(event: Event) -> None:
            events.append(event)
            if (type(event) is RunFinished or type(event) is RunFailed) and self._keep:
                run = _EndedRun(owner, events, [*map(packed, requests)], kept)
                self._ended.add(run)
                if sum([request.size for request in run.requests]) > _SMALL_BYTES:
                    self.flush()

        return record

    def flush(self) -> None:
        """Take in the runs that have ended a moment ago; whatever reads them does it."""
        self._ended.flush()

    def extend(self, workflow_id: str, events: Sequence[Event]) -> KeptRun | None:
        """Add `events` that came after the end of a run to its trace, and return the run; None
        where it is not kept any more."""
        self.flush()
        kept = self._kept.get(workflow_id)
        if kept is None:
            return None
        return self._changed(kept, [*kept.read_events(), *events])

    def note(self, workflow_id: str, sentence: str) -> KeptRun | None:
        """Add `sentence` to the notes of a run that has ended, and return the run; None where it is
        not kept any more."""
        self.flush()
        kept = self._kept.get(workflow_id)
        if kept is None:
            return None
        started, *others = kept.read_events()
        if not isinstance(started, RunStarted) or sentence in started.notes:
            return None
        return self._changed(kept, [msgspec.structs.replace(started, notes=(*started.notes, sentence)), *others])

    def _changed(self, kept: KeptRun, events: Sequence[Event]) -> KeptRun | None:
        """Give a run these `events`. None where it has no room any more."""
        requests = kept.requests
        if isinstance(requests, bytes):
            requests = [*map(packed, kept_requests.decoded(requests))]
        run = self._kept[kept.workflow_id] = _kept(kept.workflow_id, kept.owner, events, requests)
        self._bytes += run.size - kept.size
        self._shrink()
        return run if kept.workflow_id in self._kept else None

    def get(self, workflow_id: str) -> dict[str, Any]:
        """Return the trace of a run that has ended.

        Raises:
            NotFound: it is unknown, or older than the traces that are kept.
        """
        return self._kept_run(workflow_id).details()

    def requests(self, workflow_id: str) -> Sequence[ChatRequest]:
        """Return the requests of a run that has ended. Raises NotFound as `get` does."""
        return self._kept_run(workflow_id).read_requests()

    def events(self, workflow_id: str, owner: str) -> Sequence[Event] | None:
        """Return the events of a run of `owner`; None where it is not kept here. Raises NotFound
        where it is another owner's."""
        self.flush()
        kept = self._kept.get(workflow_id)
        if kept is not None and kept.owner != owner:
            raise NotFound(NOT_KEPT)
        return kept.read_events() if kept is not None else None

    def _kept_run(self, workflow_id: str) -> KeptRun:
        self.flush()
        kept = self._kept.get(workflow_id)
        if kept is None:
            raise NotFound(NOT_KEPT)
        return kept

    def recent(self, limit: int = 50) -> list[KeptRun]:
        """Return the newest runs, newest first."""
        self.flush()
        return [*islice(reversed(self._kept.values()), limit)]

    def _add_all(self, runs: Sequence[_EndedRun]) -> None:
        for run in runs:
            with surviving("a trace could not be kept"):
                self._add(run)

    def _add(self, ended: _EndedRun) -> None:
        started = ended.events[0]
        assert isinstance(started, RunStarted), "a run begins with its start"
        run = self._kept[started.workflow_id] = _kept(started.workflow_id, ended.owner, ended.events, ended.requests)
        self._bytes += run.size
        self._shrink()
        if ended.kept is not None:
            ended.kept(run)

    def _shrink(self) -> None:
        """Forget the oldest runs that have no room."""
        while len(self._kept) > self._keep or (self._bytes > self._max_bytes and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size
