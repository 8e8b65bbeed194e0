"""An upstream that a test plays by hand, in bytes."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Final, Self

PATIENCE_SECS: Final = 10


class Accepted:
    """The upstream's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    async def request(self) -> bytes:
        """Return the next request, head and body, once it is whole."""
        async with asyncio.timeout(PATIENCE_SECS):
            while (size := _request_size(self._received)) is None:
                data = await self._loop.sock_recv(self._socket, 1 << 20)
                assert data, f"closed after {bytes(self._received[:200])!r}"
                self._received += data
        request = bytes(self._received[:size])
        del self._received[:size]
        return request

    async def receive(self, size: int) -> bytes:
        """Return at most `size` bytes as they come; nothing once the client has closed."""
        async with asyncio.timeout(PATIENCE_SECS):
            try:
                return await self._loop.sock_recv(self._socket, size)
            except ConnectionResetError:
                return b""

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with asyncio.timeout(PATIENCE_SECS):
            await self._loop.sock_sendall(self._socket, data)

    async def until_closed(self) -> None:
        """Return once the client has closed the connection."""
        while await self.receive(1 << 20):
            pass

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def finish_sending(self) -> None:
        """Send the end of the stream, and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)


class Listener:
    """A listening socket on this machine."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._accepted: list[Accepted] = []
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and accept none."""
        for accepted in self._accepted:
            accepted.close()
        self._socket.close()

    @property
    def count(self) -> int:
        """Connections that have been accepted."""
        return len(self._accepted)

    @property
    def latest(self) -> Accepted:
        """The connection that was accepted last."""
        return self._accepted[-1]

    async def accept(self) -> Accepted:
        """Return the next connection."""
        async with asyncio.timeout(PATIENCE_SECS):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        sock.setblocking(False)
        self._accepted.append(Accepted(sock))
        return self._accepted[-1]


def _request_size(received: bytearray) -> int | None:
    """The size of the request that `received` begins with, or None while it is not whole."""
    head, line_end, _ = bytes(received).partition(b"\r\n\r\n")
    if not line_end:
        return None
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = len(head) + 4 + (int(lengths[0].partition(b":")[2]) if lengths else 0)
    return size if len(received) >= size else None
