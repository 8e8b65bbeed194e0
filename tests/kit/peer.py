"""A client that does what no HTTP library would: half requests, silence, requests behind requests,
and reading slowly or never.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httptools

_SECONDS = 30
"""For what takes no time where the machine is free."""


@dataclass
class Answer:
    """One response as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    """Whether its framing says that it is; never true of one that ends with the connection."""


class Peer:
    """One connection to the server at `base`.

    async with Peer(server.base) as peer:
        await peer.send(b"GET / HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n")
        answer = await peer.answer()
    """

    def __init__(self, base: str, *, receive_buffer: int | None = None) -> None:
        """`receive_buffer` is how many bytes the kernel takes while nobody reads.

        The system's own number when not given.
        """
        self._base = base
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setblocking(False)
        self.received = bytearray()
        self.opened_at = 0.0
        self.closed_at: float | None = None
        """When the server was seen to have closed, on the monotonic clock."""

    async def __aenter__(self) -> Self:
        place = urlsplit(self._base)
        await asyncio.get_running_loop().sock_connect(self._socket, (place.hostname, place.port))
        self.opened_at = time.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def read(self, size: int = 65536) -> bytes:
        """Return what has come, at most `size` bytes; nothing once the server has closed."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        except ConnectionResetError:
            data = b""
        if not data and self.closed_at is None:
            self.closed_at = time.monotonic()
        self.received += data
        return data

    async def answer(self, number: int = 1) -> Answer:
        """Return answer `number`, counted from 1, once it is whole, or as much of it as there is
        when the server closes.
        """
        async with asyncio.timeout(_SECONDS):
            while True:
                answers = answers_in(bytes(self.received))
                if len(answers) >= number and (answers[number - 1].is_whole or self.closed_at is not None):
                    return answers[number - 1]
                assert self.closed_at is None, f"closed after {bytes(self.received)!r}"
                await self.read()

    async def begins(self) -> None:
        """Return once something has come."""
        async with asyncio.timeout(_SECONDS):
            while not self.received:
                assert await self.read(), "closed before anything came"

    async def until_closed(self, *, dripping: bytes = b"", every: float = 0.02) -> list[Answer]:
        """Return all answers when the server has closed; send `dripping` now and then meanwhile."""

        async def drip() -> None:
            try:
                while True:
                    await self.send(dripping)
                    await asyncio.sleep(every)
            except OSError:
                pass  # closed

        async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
            dropping = group.create_task(drip()) if dripping else None
            while await self.read():
                pass
            if dropping is not None:
                dropping.cancel()
        return answers_in(bytes(self.received))


def answers_in(data: bytes) -> list[Answer]:
    """Return the responses that `data` holds.

    Raises HttpParserError where it holds anything else.
    """
    answers: list[Answer] = []

    class Reader:
        def on_message_begin(self) -> None:
            answers.append(Answer())

        def on_header(self, name: bytes, value: bytes) -> None:
            answers[-1].headers[name.decode("latin-1").lower()] = value.decode("latin-1")

        def on_headers_complete(self) -> None:
            answers[-1].status = parser.get_status_code()

        def on_body(self, body: bytes) -> None:
            answers[-1].body += body

        def on_message_complete(self) -> None:
            answers[-1].is_whole = True

    parser = httptools.HttpResponseParser(Reader())
    parser.feed_data(data)
    return answers
