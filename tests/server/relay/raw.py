"""Clients and upstreams that a test plays by hand, in bytes, and the memory of a process."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE_SECS: Final = 20


class End:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self.received = bytearray()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, waiting while the other end takes none."""
        async with asyncio.timeout(PATIENCE_SECS):
            await self._loop.sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        """Return what has come, as soon as there is any; nothing at the end."""
        async with asyncio.timeout(PATIENCE_SECS):
            try:
                data = await self._loop.sock_recv(self._socket, 1 << 16)
            except ConnectionResetError:
                data = b""
        self.received += data
        return data

    async def until(self, text: bytes) -> bytes:
        """Return what has come up to `text` and with it, and take it away."""
        while text not in self.received:
            assert await self.receive(), f"the connection ended after {bytes(self.received[-300:])!r}"
        end = self.received.index(text) + len(text)
        taken = bytes(self.received[:end])
        del self.received[:end]
        return taken

    async def until_closed(self) -> bytes:
        """Return all that comes until the other end closes the connection."""
        while await self.receive():
            pass
        return bytes(self.received)

    def reset(self) -> None:
        """Close this end at once, as the end of a process does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class RawUpstream:
    """A listening socket, whose connections a test answers one after another."""

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setblocking(False)
        self._ends: list[End] = []
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and accept none."""
        for end in self._ends:
            end.close()
        self._socket.close()

    async def accept(self) -> End:
        """Return the next connection."""
        async with asyncio.timeout(PATIENCE_SECS):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        sock.setblocking(False)
        self._ends.append(End(sock))
        return self._ends[-1]


@asynccontextmanager
async def raw_client(base: str, *, receive_buffer: int | None = None) -> AsyncIterator[End]:
    """A connection to the server at `base`."""
    host, _, port = base.removeprefix("http://").partition(":")
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    end = End(sock)
    try:
        yield end
    finally:
        end.close()


def head(path: str, content_type: str, length: int | None) -> bytes:
    """The head of a request; without a length, its body comes in chunks."""
    framing = f"content-length: {length}" if length is not None else "transfer-encoding: chunked"
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()


def resident_bytes(pid: int) -> int:
    """How much memory a process holds now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """How much it has held at most since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let the peak be what the process holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024
