"""One request on a connection and its answer: uvicorn's, with three differences.

A request that goes wrong after its headers (a body that does not arrive, or is no HTTP) is an error
that the application reads and answers, so that it has one answer, one log line and one id. HTTP/1.0
clients get no chunks, which they do not know. Headers whose body follows at once leave with it in
one write, and are looked at together: a second write, and uvicorn's look at each header, are 4 % of
a relayed request's CPU.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from chorus.errors import ChorusError

BODY_FOLLOWS: Final = "chorus.body_follows"
"""A key of the message `http.response.start`: true where the first piece of the body is sent at
once.
"""
_JOINED_BYTES: Final = 64 * 1024
"""A larger piece is not copied to join it to the headers."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters but the tab, which may stand in a header, and those of line ends, which are
counted.
"""


class Exchange(RequestResponseCycle):
    """One request and its answer, on HTTP/1.1."""

    _failure: ChorusError | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send a piece of the answer."""
        if BODY_FOLLOWS in message and self.scope["method"] != "HEAD" and not self.response_started:
            self._begin(cast(HTTPResponseStartEvent, message))
            return
        await super().send(message)
        if isinstance(self.transport, _HeadersHeld):
            self.transport = self.transport.transport

    def _begin(self, start: HTTPResponseStartEvent) -> None:
        """Hold the headers until the body comes. Their names are in lower case.

        Raises:
            RuntimeError: a header has a line break or another control character.
        """
        self.response_started = True
        self.waiting_for_100_continue = False
        headers = [*self.default_headers, *start.get("headers", ())]
        lines = [STATUS_LINE[start["status"]], *[b"%b: %b\r\n" % header for header in headers]]
        length = next((value for name, value in headers if name == b"content-length"), None)
        if length is not None:
            self.expected_content_length = int(length)
            self.chunked_encoding = False
        elif self.chunked_encoding is None:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and (b"connection", b"close") not in headers:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if _CONTROL.search(head) or not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise RuntimeError("A header has a line break or another control character.")
        self.transport = _HeadersHeld(self.transport, head + b"\r\n")  # type: ignore[assignment]

    def add_body(self, piece: bytes) -> None:
        """Keep `piece` for `receive`, which returns a single piece as it came, without a copy."""
        if not self.body:
            self.body = piece  # type: ignore[assignment]  # `receive` takes any bytes
        elif isinstance(self.body, bytearray):
            self.body += piece
        else:
            self.body = bytearray().join((self.body, piece))

    def fail(self, error: ChorusError) -> None:
        """Let `receive` raise `error` in place of the rest of the request.

        The connection closes after the answer.
        """
        self._failure = error
        self.keep_alive = False
        self.message_event.set()

    def disconnect(self) -> None:
        """Let `receive` say that the client has disconnected.

        What is sent from now on goes nowhere.
        """
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
        # a failure that was raised and still held here would form a reference cycle through its
        # traceback
        failure, self._failure = self._failure, None
        return cast(ChorusError, failure)


class _HeadersHeld:
    """A transport that writes the headers with the first piece of the body."""

    def __init__(self, transport: asyncio.Transport, headers: bytes) -> None:
        self.transport = transport
        self._headers = headers

    def write(self, data: bytes) -> None:
        """Write the headers with the body."""
        if len(data) <= _JOINED_BYTES:
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
            # uvicorn holds each piece against it
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
