"""A load balancer over TCP: each new connection goes to the next server that takes one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Self

_CHUNK: Final = 65536


class Balancer:
    """It stands before servers on ports of this machine, which it asks in turn.

    A connection stays with its server: a client that is to meet all of them makes a connection for
    each request (`httpx.Limits(max_keepalive_connections=0)`). A server that refuses is passed
    over.

    Attributes: `base`, and `connections`, how many each port got.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.base = ""
        self.connections = dict.fromkeys(ports, 0)
        self._ports = list(ports)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, *ports: int) -> Iterator[Self]:
        """Serve from a thread with a loop of its own."""
        balancer = cls(ports)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="balancer", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(balancer._start(), loop).result(5)
            yield balancer
        finally:
            asyncio.run_coroutine_threadsafe(balancer._stop(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        while self._open:  # noqa: ASYNC110  (their tasks end in a moment)
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(ConnectionError):
                upstream_reader, upstream_writer = await self._connect()
                self._open.add(upstream_writer)
                try:
                    await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
                finally:
                    upstream_writer.close()
                    self._open.discard(upstream_writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the next server that takes one.

        Raises ConnectionError where none does.
        """
        for _ in range(len(self._ports)):
            port = self._ports.pop(0)
            self._ports.append(port)
            with suppress(ConnectionError):
                connection = await asyncio.open_connection("127.0.0.1", port)
                self.connections[port] += 1
                return connection
        raise ConnectionRefusedError


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on everything up to the end of one direction, and that end; a break of it, too."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.close()
