"""What a dialect is: a protocol of clients, with its requests and its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from chorus.events import Event
from chorus.server.http.errors import ErrorStyle
from chorus.server.http.frames import Encoder
from chorus.types import ChatRequest, Framing
from chorus.wirejson import JSON, FieldReader

Options = TypeVar("Options")
"""What the answers of a dialect need to know of their request, beside what all dialects have in
common.
"""


class ParsedRequest(msgspec.Struct, Generic[Options], frozen=True):
    """A request as its dialect understood it. `requests` has one entry per choice, none for a
    request that only loads a model. `progress`: the client wants to see what is going on."""

    model: str
    requests: tuple[ChatRequest, ...]
    options: Options
    """The dialect's own; None for a dialect that has none."""
    stream: bool = False
    include_workflow: bool = False
    progress: bool = False
    warnings: tuple[str, ...] = ()
    """A sentence for each element of the request that is left out or converted: for
    `X-Chorus-Warning` and the log."""
    warnings_of_chat: frozenset[str] = frozenset()
    """Those of `warnings` that do not hold for a model behind the Responses API."""
    recall_user: str | None = None
    """The user whose notes are recalled for the answer; None: nobody's are."""
    side: str | None = None
    """What a request beside the conversation is for, where it goes to one model and not to its
    workflow.
    """
    conversation: str | None = None
    """The id of the stored conversation that this exchange belongs to (M3)."""
    notes: tuple[str, ...] = ()
    """Sentences for the trace, of those that `warnings` has."""
    is_feed: bool = False
    """Whether the stream has every event of the run: its status line waits for none of them."""


class ResponseContext(msgspec.Struct, Generic[Options], frozen=True):
    """What an encoder needs beside the events. `created` is wall-clock seconds; `errors` is the
    shape in which this client reads errors; `workflow` folds the trace when it is wanted and is
    None when it is not."""

    id: str
    request_id: str
    created: float
    parsed: ParsedRequest[Options]
    errors: ErrorStyle
    workflow: Callable[[], JSON] | None = None


class Dialect(Protocol[Options]):
    """One client-facing protocol."""

    path: ClassVar[str]
    error_style: ClassVar[ErrorStyle]
    framing: ClassVar[Framing]
    done: ClassVar[bytes | None]
    """What ends an SSE stream behind its last frame."""
    body: ClassVar[type[msgspec.Struct]]
    """The request body: what is read of it, and its schema in `/openapi.json`."""
    readers: ClassVar[Mapping[str, FieldReader]]
    """What reads fields of a large body, which `parse` then gets in that form."""
    summary: ClassVar[str]
    id_prefix: ClassVar[str]

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[Options]:
        """Return what `body` asks for. Raises InvalidRequest naming the field that is wrong."""
        ...

    def encoder(self, context: ResponseContext[Options]) -> Encoder:
        """Return the encoder of one stream."""
        ...

    def whole(self, context: ResponseContext[Options], events: Sequence[Event]) -> JSON:
        """Return the body of an answer that is not streamed. `events` is a whole journal that ends
        in `RunFinished`."""
        ...
