"""`Upstream.open`: the one method of everything that answers.

Providers (`openai`, `ollama`, `demo`) are upstreams, and so is every concern around them (a gate,
stop words, a pool of replicas): it holds upstreams and is one, so any order composes. `registry.py`
builds the stack.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from chorus.errors import UpstreamConnect
from chorus.types import ChatRequest, Extra, FinishReason, Priority, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

CONNECT_SECS: Final = 10.0
"""How long connecting may take; a machine that is there accepts in milliseconds."""

MAX_CALLS: Final = 1024
"""Tool calls of one answer; each takes memory until the answer is over."""


NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


def context_headers(request_id: str) -> Mapping[str, str]:
    """Return the headers that tell an upstream for which request it is called."""
    return {"x-request-id": request_id} if request_id else NO_HEADERS


def ignore(text: str) -> None:
    """Default of `Call.attempting` and `Call.warn`: nobody counts, nobody reads."""


def _never() -> bool:
    """Default of `Call.timed_out`."""
    return False


class Call(msgspec.Struct, frozen=True):
    """One question to one model.

    Limits are the caller's cancel scopes; an upstream adds none of its own but `connect_timeout`
    (seconds).
    """

    request: ChatRequest
    headers: Mapping[str, str] = NO_HEADERS
    """The outgoing context (see `context_headers`): sent as they are, beside those of the upstream
    itself."""
    stream: bool = True
    """Whether anybody wants the answer in pieces.

    An upstream that has no other way may stream regardless.
    """
    connect_timeout: float = CONNECT_SECS
    first_token_timeout: float | None = None
    """Seconds that one instance may take to begin; another may be asked then."""
    deadline: float = math.inf
    """When the caller gives up whatever has come by then, on the clock of the event loop.

    Limits that move with the answer are the caller's own.
    """
    session: str | None = None
    """Whose call it is: those of one session go to one instance while it is well (D3)."""
    priority: Priority = "default"
    attempting: Callable[[str], None] = ignore
    """Called with the instance's id each time the call is sent to one."""
    on_restart: Callable[[], None] | None = None
    """Called when an answer that broke off begins again with another instance: what was said of it
    does not count. None: it may not, since pieces of it are delivered.
    """
    warn: Callable[[str], None] = ignore
    """Called with a sentence for each element of the request that the upstream does not get, or
    gets in another form.
    """
    timed_out: Callable[[], bool] = _never
    """Whether a cancellation of this call means that it took too long."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A piece of an answer.

    The last one of a whole answer has a `finish_reason`; `usage` may come with or after it.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolPiece, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    logprobs: JSON = None
    extra: Extra | None = None
    """Other fields of the message.

    Lists grow and objects merge from chunk to chunk (`chorus/extras.py`).
    """


class ConnectionClosed(UpstreamConnect):
    """The connection was closed without an answer after the request was sent.

    The request may be why.
    """


class Upstream(Protocol):
    """Something that answers."""

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Ask, and read the answer piece by piece.

        Leaving the block closes the connection, whatever was read.

        Chunks that arrived in one read come without a pause between them. The iterator ends only
        after a chunk with a `finish_reason`; an answer that breaks off raises.

        Raises:
            LLMError: on entering (nothing was answered yet) or while reading.
        """
        ...
