"""HTTP/1.1 as an upstream speaks it: one connection, its requests in turn, and the moment the
client leaves.

`asyncio.Protocol` and not streams: reading never pauses, so a client's FIN or RST is seen at once
whatever the current exchange is doing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from .record import Recorded


class Handler(Protocol):
    """Who owns the connections."""

    def opened(self, connection: Connection) -> int:
        """A new connection; answers its number."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""

    def arrived(self, exchange: Exchange) -> None:
        """A whole request is in; its answer is about to be made."""

    async def answer(self, exchange: Exchange) -> None:
        """Make the answer; cancelled when the client leaves."""

    def over(self, exchange: Exchange) -> None:
        """The answer is out, or the client has left."""


class Connection(asyncio.Protocol):
    """One client connection. Pipelined requests wait their turn."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[Exchange] = []
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin_request()
        self.number = 0

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's does not derive from asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self.number = self._handler.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def eof_received(self) -> bool:
        self._peer_left()
        return False  # closes our side too

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_left()
        self._writable.set()
        self._handler.lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- httptools callbacks

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url = httptools.parse_url(self._url)
        request = Recorded(
            method=self._parser.get_method().decode(),
            path=unquote(url.path.decode()),
            query=(url.query or b"").decode(),
            headers=self._headers,
            body=bytes(self._body),
            connection=self.number,
            started_at=time.monotonic(),
        )
        self._waiting.append(Exchange(self, request, keep_alive=self._parser.should_keep_alive()))
        self._begin_request()
        if self._task is None:
            self._next()

    # --- for the exchange

    async def write(self, data: bytes) -> None:
        """Hand bytes to the kernel, waiting while the client reads too slowly."""
        assert self._transport is not None
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        """FIN, after what is buffered."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, dropping what is buffered and giving up the current answer."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """RST: the client's next read fails."""
        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # --- turns

    def _begin_request(self) -> None:
        self._url, self._headers, self._body = b"", dict[str, str](), bytearray()

    def _next(self) -> None:
        self._current = self._waiting.pop(0)
        self._handler.arrived(self._current)
        self._task = asyncio.get_running_loop().create_task(self._handler.answer(self._current))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        exchange, self._current, self._task = self._current, None, None
        assert exchange is not None
        broke_off = task.cancelled() or task.exception() is not None
        if not broke_off:
            exchange.request.finished_at = time.monotonic()
        self._handler.over(exchange)
        if broke_off:
            self.abort()
        elif not exchange.keep_alive:
            self.close()
        elif self._waiting:
            self._next()

    def _peer_left(self) -> None:
        if self._task is None or self._current is None or self._current.is_leaving or self._task.cancelling():
            return
        self._current.request.closed_by_peer_at = time.monotonic()
        self._task.cancel()


class Exchange:
    """One request and the making of its answer."""

    def __init__(self, connection: Connection, request: Recorded, *, keep_alive: bool) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.is_leaving = False
        """We are closing the connection ourselves, so its end is not the client's doing."""
        self._connection = connection
        self._is_chunked = False

    def head(
        self, status: int, headers: Mapping[str, str], *, length: int | None = None, until_close: bool = False
    ) -> bytes:
        """Status line and headers: with `length`, else closed at the end (`until_close`), else
        chunked.
        """
        framing = {"transfer-encoding": "chunked"}
        if length is not None:
            framing = {"content-length": str(length)}
        elif until_close:
            framing = {"connection": "close"}
            self.keep_alive = False
        self._is_chunked = length is None and not until_close
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in {**framing, **headers}.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def framed(self, data: bytes) -> bytes:
        """`data` as one HTTP chunk, where the answer is chunked."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked and data else data

    def ending(self) -> bytes:
        """What ends the body."""
        return b"0\r\n\r\n" if self._is_chunked else b""

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if data:
            await self._connection.write(data)

    def leave(self, *, reset: bool = False) -> None:
        """Close our side in mid-answer."""
        self.is_leaving = True
        self.keep_alive = False
        if reset:
            self._connection.reset()
        else:
            self._connection.close()
