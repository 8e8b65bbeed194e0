"""Requests that are relayed to one model as they are: reranking, images, audio, moderations.

Above: `pool` and `registry` make the stack of a model's replicas. Below: the `transport` of a
provider. Bodies and answers are bytes that nobody holds as a whole; only the model's name is
replaced on the way out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from chorus.llm.base import CONNECT_SECS, NO_HEADERS, ignore
from chorus.types import Priority


class RelayBody(Protocol):
    """The body of a request: a JSON text or a form, in which the model's name is replaced."""

    @property
    def content_type(self) -> str:
        """Its type as the client sent it, with the boundary of a form."""

    @property
    def is_kept(self) -> bool:
        """Whether it can be sent any number of times."""

    @property
    def can_be_sent(self) -> bool:
        """Whether it can be sent from its beginning now: it is kept, or nothing was taken from
        it."""

    def length(self, model: str) -> int | None:
        """Return its bytes with this name of the model; None where the client has not said how long
        it is."""

    def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """Return the body piece by piece, with this name of the model in place of the client's.

        Raises:
            ChorusError: while reading: the client has left, or what comes is no body.
        """


def _never() -> bool:
    """Default of `RelayCall.timed_out`."""
    return False


class RelayCall(msgspec.Struct, frozen=True):
    """One request to one model. Limits are the caller's cancel scopes, as with `base.Call`, whose
    fields these are."""

    path: str
    """What is asked for, as OpenAI's API calls it below its version, such as "/audio/speech"."""
    body: RelayBody
    headers: Mapping[str, str] = NO_HEADERS
    connect_timeout: float = CONNECT_SECS
    priority: Priority = "default"
    attempting: Callable[[str], None] = ignore
    timed_out: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    """A successful answer (2xx) whose body is read once."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case. A `content-length` is that of `parts`."""
    parts: AsyncIterator[bytes]
    """The body as it comes. Raises LLMError where it breaks off."""


class Relay(Protocol):
    """An upstream that requests are relayed to."""

    def open(self, call: RelayCall) -> AbstractAsyncContextManager[RelayAnswer]:
        """Send the request, and read its answer. Leaving the block closes the connection, whatever
        was read or sent.

        Raises:
            LLMError: on entering: the upstream cannot be reached, or refuses the request. Its own
                reason is in the error.
            ChorusError: on entering: what `RelayBody.pieces` raises.
        """
        ...
