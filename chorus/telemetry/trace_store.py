"""The traces of the last runs, with the requests that they answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from chorus import wirejson
from chorus.errors import NotFound
from chorus.events import Event, RunFailed, RunFinished, RunStarted
from chorus.journal import Observer
from chorus.sizes import size_of_event, size_of_request
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest, Tools

_EMPTY: Final[dict[str, Any]] = {
    "tool_choice": None,
    "response_format": None,
    "ollama_options": {},
    "extra": {},
}
"""Fields of a request that hold decoded JSON, empty. They are kept encoded: the tools of 1,000
requests would be millions of objects that the garbage collector walks through."""


class _KeptRequest(msgspec.Struct, frozen=True):
    """A request without its JSON fields. `tools` and `packed` hold these encoded; they are empty
    where it has none."""

    request: ChatRequest
    tools: bytes
    packed: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Kept:
    events: list[Event]
    requests: Sequence[_KeptRequest]
    size: int


class TraceStore:
    """The traces of the last `keep` runs with their requests, so that they can be run again; at
    most `max_bytes` of memory in all (`chorus/sizes.py`), but always the newest. Older ones go
    first."""

    def __init__(self, keep: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._keep = keep
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def recorder(self, requests: Sequence[ChatRequest]) -> Observer:
        """Return an observer that keeps the trace of one run of `requests`. Deltas are not kept:
        each stage's end has its whole answer."""
        events: list[Event] = []
        workflow_id = ""

        def record(event: Event) -> None:
            nonlocal workflow_id
            events.append(event)
            if isinstance(event, RunStarted):
                workflow_id = event.workflow_id
            elif isinstance(event, RunFinished | RunFailed):
                self._add(workflow_id, events, requests)

        return record

    def extend(self, workflow_id: str, events: Sequence[Event]) -> None:
        """Add `events` that came after the end of a run to its trace, if that is still kept."""
        kept = self._kept.get(workflow_id)
        if kept is not None:
            kept.events.extend(events)
            size = sum(map(size_of_event, events))
            self._kept[workflow_id] = replace(kept, size=kept.size + size)
            self._bytes += size

    def get(self, workflow_id: str) -> dict[str, Any]:
        """Return the trace of a run that has ended.

        Raises:
            NotFound: it is unknown, or older than the traces that are kept.
        """
        return workflow_details(self._kept_run(workflow_id).events)

    def requests(self, workflow_id: str) -> Sequence[ChatRequest]:
        """Return the requests of a run that has ended. Raises NotFound as `get` does."""
        return [*map(_unpacked, self._kept_run(workflow_id).requests)]

    def _kept_run(self, workflow_id: str) -> _Kept:
        kept = self._kept.get(workflow_id)
        if kept is None:
            raise NotFound("No workflow of this id is kept; `[trace] keep` sets how many are.")
        return kept

    def recent(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest traces, newest first."""
        newest = list(reversed(self._kept.values()))[:limit]
        return [workflow_details(kept.events) for kept in newest]

    def _add(self, workflow_id: str, events: list[Event], requests: Sequence[ChatRequest]) -> None:
        if self._keep == 0:
            return
        kept_requests = [*map(_packed, requests)]
        size = sum(map(size_of_event, events)) + sum(kept.size for kept in kept_requests)
        self._kept[workflow_id] = _Kept(events, kept_requests, size)
        self._bytes += size
        while len(self._kept) > self._keep or (self._bytes > self._max_bytes and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size


def _packed(request: ChatRequest) -> _KeptRequest:
    fields = {name: value for name in _EMPTY if (value := getattr(request, name))}
    packed = wirejson.encode_upstream(fields) if fields else b""
    tools = request.tools.encoded if request.tools else b""
    if tools or packed:
        request = msgspec.structs.replace(request, tools=Tools(), **_EMPTY)
    return _KeptRequest(request, tools, packed, len(tools) + len(packed) + size_of_request(request))


def _unpacked(kept: _KeptRequest) -> ChatRequest:
    if not kept.tools and not kept.packed:
        return kept.request
    fields = msgspec.json.decode(kept.packed) if kept.packed else {}
    tools = Tools(wirejson.decode_array(kept.tools)) if kept.tools else Tools()
    return msgspec.structs.replace(kept.request, tools=tools, **fields)
