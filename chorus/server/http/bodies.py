"""Handlers that get the request's body as a type: it is read and checked before they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from chorus.server.http.reading import read
from chorus.server.http.wire import read_body
from chorus.wirejson import JSON

Fields = TypeVar("Fields", bound=msgspec.Struct)


class RequestBody(msgspec.Struct, Generic[Fields], frozen=True):
    """A request's body."""

    fields: Fields
    raw: Mapping[str, JSON]
    """All of it, with the fields that `fields` does not know."""


BodyHandler = Callable[[Scope, RequestBody[Fields], Send], Awaitable[None]]
"""Answers a request whose body has been read."""


class BodyReader(Generic[Fields]):
    """An ASGI application that reads the request's body as `fields` and calls `handler` with it."""

    def __init__(self, fields: type[Fields], handler: BodyHandler[Fields]) -> None:
        self._fields = fields
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises as `wire.read_body` and `reading.read` do."""
        raw, _ = await read_body(scope, receive)
        await self._handler(scope, RequestBody(read(raw, self._fields), raw), send)
