"""One connection to an upstream: a request is written, one response is read, within bounds.

httptools itself reads heads, trailers and chunk extensions without end, and lets a second response
follow the first one. A response that belongs to no request would be the answer to the next one: of
another user.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import httptools

from chorus.llm.transport.http.errors import (
    ClientPayloadError,
    ClientResponseError,
    ConnectionFailed,
    ServerDisconnectedError,
)
from chorus.llm.transport.http.head import MAX_HEAD, ends_with_connection, headers_of
from chorus.llm.transport.http.response import Response

MAX_INTERIM: Final = 32
"""Interim responses (100, 102, 103) before the final one; a server has use for two or three."""
MAX_JOINED: Final = 64 * 1024
"""Bytes of a request's body up to which it is joined with its head and written at once."""
WRITE_SIZE: Final = 256 * 1024
"""A longer body is written in pieces of so many bytes, not copied, as the upstream takes them."""

_SWITCHING_PROTOCOLS: Final = 101


class Owner(Protocol):
    """The pool that a connection belongs to."""

    def opened(self, connection: Connection) -> None:
        """The connection is made."""

    def released(self, connection: Connection) -> None:
        """The exchange is over, and the connection can have another one."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""


class Connection(asyncio.Protocol):
    """One connection. `exchange` begins an exchange; there is one at a time."""

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._poll: Callable[[int], object] | None = None
        self._response: Response | None = None
        self._parts: list[bytes] = []
        """`parts` of the response."""
        self._rest: memoryview | None = None
        """What of the request is not written yet."""
        self._is_sending = False
        """Whether the body of the request follows by `send`, and has not ended."""
        self._writable: asyncio.Future[None] | None = None
        """Where `send` waits until the upstream takes more."""
        self._head: list[tuple[bytes, bytes]] = []
        self._bare_bytes = 0
        """Bytes that have come since the last piece of a body."""
        self._interim = 0
        self._is_whole = False
        """Whether the final response is."""
        self._is_until_eof = False
        """Whether the body ends with the connection."""
        self._can_keep = False
        """Whether the response allows another exchange."""
        self._is_reading_paused = self._is_writing_paused = False
        self.idle_since = 0.0
        """When the pool got it back, on the loop's clock."""

    # --- for the pool

    @property
    def is_open(self) -> bool:
        """Whether it is, as far as the loop has read."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_usable(self) -> bool:
        """Whether an exchange can begin: the upstream has neither closed the connection nor sent
        anything.

        Looks at the socket itself: the loop may not have come to read the end of the connection.
        """
        transport, poll = self._transport, self._poll
        return transport is not None and not transport.is_closing() and (poll is None or not poll(0))

    def exchange(self, head: bytes, body: bytes) -> Response:
        """Send a request and return its response, of which nothing has come."""
        transport = self._transport
        assert transport is not None
        response = self._response = Response(self, self._loop)
        self._parts = response.parts
        self._interim = self._bare_bytes = 0
        self._is_whole = self._is_until_eof = self._can_keep = self._is_sending = False
        if len(body) <= MAX_JOINED:
            transport.write(head + body)
        else:
            transport.write(head)
            self._rest = memoryview(body)
            self._write_rest()
        return response

    def begin(self, head: bytes) -> Response:
        """Send the head of a request and return its response, of which nothing has come. The body
        follows by `send`, its end by `sent`."""
        response = self.exchange(head, b"")
        self._is_sending = True
        return response

    async def send(self, piece: bytes) -> None:
        """Write a piece of the body, and wait until the upstream takes more.

        Raises:
            ServerDisconnectedError: the connection has ended.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ServerDisconnectedError("the connection ended before the request was sent")
        transport.write(piece)
        while self._is_writing_paused and self._transport is not None:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    def sent(self) -> None:
        """The body is whole."""
        self._is_sending = False

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # --- for the response

    def pause_reading(self) -> None:
        """See `Source`."""
        if self._transport is not None and not self._transport.is_closing():
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Source`."""
        self._is_reading_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self) -> None:
        """See `Source`."""
        self._response = self._rest = None
        self.abort()

    # --- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection is open."""
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):  # Windows has none
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._poll = poll.poll
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whomever."""
        self._over(exc)
        self._transport = self._parser = self._poll = self._rest = None
        self._wake_sender()
        self._owner.lost(self)

    def eof_received(self) -> None:
        """The upstream sends nothing more."""
        self._over(None)
        self.abort()

    def data_received(self, data: bytes) -> None:
        """Parse `data`."""
        response, parser = self._response, self._parser
        if response is None or parser is None:
            self.abort()
            return
        self._bare_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as problem:
            if not self._is_whole:
                self._fail(problem)
                return
            self._can_keep = False  # something follows the response
        if self._parts:
            response.arrived(len(data))
        if self._is_whole:
            self._finish(response)
        elif self._bare_bytes > MAX_HEAD:
            self._fail(None)

    def pause_writing(self) -> None:
        """The upstream takes less than is written."""
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        """The upstream has taken most of what was written."""
        self._is_writing_paused = False
        self._wake_sender()
        self._write_rest()

    def _wake_sender(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _write_rest(self) -> None:
        """Write as much of the body as the transport takes.

        No task is needed: the transport calls when it takes more.
        """
        while self._rest is not None and not self._is_writing_paused:
            transport = self._transport
            if transport is None or transport.is_closing():
                return
            piece, rest = self._rest[:WRITE_SIZE], self._rest[WRITE_SIZE:]
            self._rest = rest if len(rest) else None
            transport.write(piece)

    # --- the end of an exchange

    def _finish(self, response: Response) -> None:
        """The response is whole."""
        self._response = None
        response.end()
        transport = self._transport
        if (
            self._can_keep
            and self._rest is None
            and not self._is_sending
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if self._is_reading_paused:
                self.resume_reading()
            self._owner.released(self)
        else:
            self._rest = None
            self.abort()

    def _fail(self, problem: Exception | None) -> None:
        """Give up a response that is not HTTP/1.1, or exceeds a bound."""
        response, self._response, self._rest = self._response, None, None
        self.abort()
        if response is not None:
            response.fail(
                partial(ClientPayloadError if response.status else ClientResponseError, str(problem or "too long"))
            )

    def _over(self, problem: Exception | None) -> None:
        """The connection ends."""
        response, self._response, self._rest = self._response, None, None
        if response is None:
            return
        if not response.status:
            response.fail(partial(_disconnected, problem))
        elif self._is_until_eof and problem is None:
            response.end()
        else:
            response.fail(partial(ClientPayloadError, "the connection ended in the middle of the body"))

    # --- httptools

    def on_message_begin(self) -> None:
        """The first byte of a response."""
        if self._is_whole:
            raise ClientResponseError("a response to no request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is not kept."""
        response = self._response
        if response is not None and not response.status:
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        """The head of an interim response, or of the final one, is whole."""
        response, parser = self._response, self._parser
        assert response is not None
        assert parser is not None
        headers = headers_of(self._head, self._bare_bytes)
        self._head = []
        status = parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status < 100 or status == _SWITCHING_PROTOCOLS or self._interim > MAX_INTERIM:
                raise ClientResponseError("a status that answers nothing")
            self._bare_bytes = 0
            return
        # never with a body that ends with the connection
        self._can_keep = parser.should_keep_alive()
        self._is_until_eof = not self._can_keep and ends_with_connection(headers)
        response.begin(status, headers)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._bare_bytes = 0
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """A response is whole."""
        response = self._response
        if response is not None and response.status:
            self._is_whole = True


def _disconnected(problem: Exception | None) -> Exception:
    """Return the error for a connection that ended before the head of a response."""
    if isinstance(problem, OSError) and not isinstance(problem, ConnectionError):
        return ConnectionFailed(problem.errno, problem.strerror)
    return ServerDisconnectedError("the connection ended without a response")
