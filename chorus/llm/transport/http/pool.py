"""The connections to one origin: those in use, and those kept for the next request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio

from chorus.llm.transport.http.connecting import Origin, connect
from chorus.llm.transport.http.connection import Connection
from chorus.llm.transport.http.errors import ServerDisconnectedError
from chorus.llm.transport.http.resolving import Resolver
from chorus.llm.transport.http.response import Response

_CLOSE_SECS: Final = 2.0
"""How long `aclose` waits for connections to close.

They are aborted, which takes one round of the event loop.
"""


class ConnectionPool:
    """Connections to one origin. Whoever makes it closes it with `aclose()`.

    The connection that was used last is used first, so that the others reach their `keepalive_secs`
    and close. There is no limit: admission is upstream of it, in plain sight; a queue in here would
    look like a slow model.
    """

    def __init__(self, origin: Origin, *, keepalive_secs: float) -> None:
        self._origin = origin
        self._resolver = Resolver(origin.host, origin.port)
        self._keepalive_secs = keepalive_secs
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """In the order of their last use. A dict, since many may be lost at once."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._all_lost: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<ConnectionPool of {self._origin.host}:{self._origin.port}: {len(self._open)} open, {len(self._idle)} idle>"

    async def request(self, head: bytes, body: bytes, *, connect_secs: float, retries: bool = False) -> Response:
        """Send a request and return its response when its head is whole. The caller closes it.

        `retries`: send it once more, on a new connection, when a kept connection turns out to be
        closed. Only for requests that an upstream may get twice.

        Raises:
            TimeoutError, CannotConnect: there is no connection within `connect_secs`.
            OSError: the connection ended before the response.
            ClientResponseError: what came is no response.
        """
        connection = self._kept()
        if connection is not None:
            try:
                return await _exchange(connection, head, body)
            except ConnectionError:
                if not retries:
                    raise
        connection = await connect(self._origin, self._resolver, self, within=connect_secs)
        if not connection.is_open:
            raise ServerDisconnectedError("the connection ended before the request")
        return await _exchange(connection, head, body)

    async def request_streamed(
        self, head: bytes, body: AsyncGenerator[bytes, None], *, connect_secs: float, is_new: bool
    ) -> Response:
        """Send a request whose `body` comes piece by piece, framed as `head` says, and return its
        response when its head is whole. The caller closes it. `body` is closed here.

        An upstream that refuses the request before it has the whole body gets no more of it.
        `is_new`: a kept connection, which may turn out to be closed, is not used.

        Raises:
            TimeoutError, CannotConnect: there is no connection within `connect_secs`; nothing was
                taken from `body`.
            OSError: the connection ended before the response.
            ClientResponseError: what came is no response.
            Exception: whatever `body` raised. The connection is closed.
        """
        async with aclosing(body):
            connection = None if is_new else self._kept()
            if connection is None:
                connection = await connect(self._origin, self._resolver, self, within=connect_secs)
            if not connection.is_open:
                raise ServerDisconnectedError("the connection ended before the request")
            return await _exchange_streamed(connection, head, body)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._idle.clear()
        if not self._open:
            return
        self._all_lost = anyio.Event()
        for connection in self._open:
            connection.abort()
        with anyio.move_on_after(_CLOSE_SECS, shield=True):
            await self._all_lost.wait()

    def _kept(self) -> Connection | None:
        """Return a connection that is kept and usable, or None."""
        if not self._idle:
            return None
        oldest_kept = asyncio.get_running_loop().time() - self._keepalive_secs
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.idle_since >= oldest_kept and connection.is_usable:
                return connection
            connection.abort()
        return None

    # --- for connections

    def opened(self, connection: Connection) -> None:
        """See `Owner`."""
        self._open.add(connection)
        if self._is_closed:
            connection.abort()

    def released(self, connection: Connection) -> None:
        """See `Owner`."""
        if self._is_closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle[connection] = None
        if self._timer is None:
            self._timer = loop.call_later(self._keepalive_secs, self._sweep)

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if self._all_lost is not None and not self._open:
            self._all_lost.set()

    def _sweep(self) -> None:
        """Close what has been idle for too long; look again when the next one is due."""
        loop = asyncio.get_running_loop()
        oldest_kept = loop.time() - self._keepalive_secs
        self._timer = None
        for connection in list(self._idle):
            if connection.idle_since > oldest_kept:
                self._timer = loop.call_at(connection.idle_since + self._keepalive_secs, self._sweep)
                return
            del self._idle[connection]
            connection.abort()


async def _exchange(connection: Connection, head: bytes, body: bytes) -> Response:
    response = connection.exchange(head, body)
    try:
        await response.begun()
    except BaseException:
        response.close()
        raise
    return response


async def _exchange_streamed(connection: Connection, head: bytes, body: AsyncGenerator[bytes, None]) -> Response:
    response = connection.begin(head)
    try:
        with anyio.CancelScope() as sending:
            response.stop_sending = sending.cancel
            try:
                async for piece in body:
                    await connection.send(piece)
            except ServerDisconnectedError:  # it may have answered before it closed
                if not response.status:
                    raise
            else:
                connection.sent()
        response.stop_sending = None
        await response.begun()
    except BaseException:
        response.close()
        raise
    return response
