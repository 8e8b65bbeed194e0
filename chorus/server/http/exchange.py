"""One request on a connection and its answer: uvicorn's, with three differences.

A request that goes wrong after its headers (a body that does not arrive, or is no HTTP) is an error
that the application reads and answers, so that it has one answer, one log line and one id. HTTP/1.0
clients get no chunks, which they do not know. Headers whose body follows at once leave with it in one
write: a second one is 2 % of a relayed request's CPU.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from chorus.errors import ChorusError

BODY_FOLLOWS: Final = "chorus.body_follows"
"""A key of the message `http.response.start`: true where the first piece of the body is sent at once."""
_JOINED_BYTES: Final = 64 * 1024
"""A larger piece is not copied to join it to the headers."""


class Exchange(RequestResponseCycle):
    """One request and its answer, on HTTP/1.1."""

    _failure: ChorusError | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send a piece of the answer."""
        if message.get(BODY_FOLLOWS) and self.scope["method"] != "HEAD":
            self.transport = _HeadersHeld(self.transport)  # type: ignore[assignment]
            await super().send(message)
            return
        await super().send(message)
        if isinstance(self.transport, _HeadersHeld):
            self.transport = self.transport.transport

    def fail(self, error: ChorusError) -> None:
        """Let `receive` raise `error` in place of the rest of the request. The connection closes after the answer."""
        self._failure = error
        self.keep_alive = False
        self.message_event.set()

    def disconnect(self) -> None:
        """Let `receive` say that the client has disconnected; what is sent from now on goes nowhere."""
        self.disconnected = True
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next piece of the request.

        Raises:
            ChorusError: no more of it is coming, for the reason that `fail` was given.
        """
        message = await super().receive()
        if self._failure is not None and not self.disconnected:
            raise self._take_failure()
        return message

    def _take_failure(self) -> ChorusError:
        # a failure that was raised and still held here would form a reference cycle through its traceback
        failure, self._failure = self._failure, None
        return cast(ChorusError, failure)


class _HeadersHeld:
    """A transport that holds the headers back until the first piece of the body is written."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._headers: bytes | None = None

    def write(self, data: bytes) -> None:
        """Hold the headers, which come first; write them with what follows."""
        if self._headers is None:
            self._headers = data
        elif len(data) <= _JOINED_BYTES:
            self.transport.write(self._headers + data)
        else:
            self.transport.write(self._headers)
            self.transport.write(data)

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()


class UnchunkedExchange(Exchange):
    """One request and its answer, on HTTP/1.0: an answer without a length ends where the connection
    does (RFC 9112, 6.3)."""

    _is_unframed = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send a piece of the answer."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            self._is_unframed = all(name.lower() != b"content-length" for name, _ in headers)
            if self._is_unframed:
                self.chunked_encoding = False
            message["headers"] = [*headers, (b"connection", b"close")]
        elif self._is_unframed and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))  # uvicorn holds each piece against it
        await super().send(message)
