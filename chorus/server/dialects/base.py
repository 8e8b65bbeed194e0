"""What a dialect is, and what it is given to speak with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from chorus.events import Event
from chorus.server.http.errors import ErrorStyle
from chorus.server.http.frames import Encoder
from chorus.types import ChatRequest, Framing
from chorus.wirejson import JSON


class ParsedRequest(msgspec.Struct, frozen=True):
    """A request as its dialect understood it. `requests` has one entry per choice, none for a request that only loads a
    model. `options` is the dialect's own. `progress`: the client wants to see what is going on."""

    model: str
    requests: tuple[ChatRequest, ...]
    stream: bool = False
    include_workflow: bool = False
    options: Any = None
    progress: bool = False
    warnings: tuple[str, ...] = ()
    """A sentence for each element of the request that is left out or converted: for `X-Chorus-Warning` and the log."""
    side: str | None = None
    """What a request beside the conversation is for, where it goes to one model and not to its workflow."""


class ResponseContext(msgspec.Struct, frozen=True):
    """What an answer is told about itself. `created` is wall-clock seconds; `errors` is the shape in which this client reads
    errors; `workflow` folds the trace when it is wanted and is None when it is not."""

    id: str
    request_id: str
    created: float
    parsed: ParsedRequest
    errors: ErrorStyle
    workflow: Callable[[], JSON] | None = None


class Dialect(Protocol):
    """One client-facing protocol."""

    path: ClassVar[str]
    error_style: ClassVar[ErrorStyle]
    framing: ClassVar[Framing]
    done: ClassVar[bytes | None]
    """What ends an SSE stream behind its last frame."""
    body: ClassVar[type[msgspec.Struct]]
    """The request body: what is read of it, and its schema in `/openapi.json`."""
    encoded: ClassVar[Mapping[str, bytes]]
    """Arrays of the body that `parse` may get as `EncodedArray`, each with a text that one worth it holds."""
    summary: ClassVar[str]
    id_prefix: ClassVar[str]

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest:
        """What `body` asks. Raises InvalidRequest naming the field that is wrong."""
        ...

    def encoder(self, context: ResponseContext) -> Encoder:
        """An encoder for one stream."""
        ...

    def whole(self, context: ResponseContext, events: Sequence[Event]) -> JSON:
        """The body of an answer that is not streamed; `events` is a whole journal that ends in `RunFinished`."""
        ...
