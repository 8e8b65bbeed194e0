"""A load generator that costs little: raw asyncio, keep-alive, whole answers read and checked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from itertools import repeat
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools


class BadAnswer(Exception):
    """An answer that is not what a benchmark may count."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time.

    After `exchange` or `send` returned, `body` is the whole answer, decoded from its framing.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self.status = 0
        self.body = bytearray()
        self.is_reusable = True
        """Whether the server keeps the connection after its last answer."""

    async def exchange(self, request: bytes) -> int:
        """Send a request and wait for the whole answer.

        Its status. BadAnswer when the connection ends before it does.
        """
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done
        return self.status

    async def send(self, request: bytes) -> None:
        """`exchange`, and BadAnswer when the status is not 200."""
        if await self.exchange(request) != 200:
            raise BadAnswer(f"status {self.status}: {self.body[:300]!r}")

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are, and wait for nothing."""
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BadAnswer(f"connection lost: {exc}"))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.is_reusable = self._parser.should_keep_alive()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class TimedConnection(Connection):
    """One that sees when a stream of chat completions begins: `first_token_at` is the
    `time.perf_counter()` at which its first non-empty content was in (0.0: never).
    """

    def __init__(self) -> None:
        super().__init__()
        self.first_token_at = 0.0
        self._scanned = 0

    async def exchange(self, request: bytes) -> int:
        """See `Connection.exchange`."""
        self.first_token_at, self._scanned = 0.0, 0
        return await super().exchange(request)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.first_token_at:
            self._look_for_token()

    def _look_for_token(self) -> None:
        now = time.perf_counter()
        while (end := self.body.find(b"\n\n", self._scanned)) >= 0:
            event, self._scanned = bytes(self.body[self._scanned : end]), end + 2
            if event.startswith(b"data: {") and _content_of(json.loads(event[6:])):
                self.first_token_at = now
                return


class Load:
    """A fixed number of connections to one server.

    async with Load(base, 16) as load:
        await load.run(chat_request("m-0-0-4"), 1000)
    """

    def __init__(self, base: str, concurrency: int) -> None:
        address = urlsplit(base)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._concurrency = concurrency
        self._connections: list[TimedConnection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._concurrency):
            _, connection = await loop.create_connection(TimedConnection, self._host, self._port)
            self._connections.append(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    async def run(self, request: bytes, count: int, *, is_stream: bool = False) -> None:
        """`count` requests over all connections; BadAnswer when one is not complete."""
        await self.run_all(repeat(request, count), is_stream=is_stream)

    async def run_all(self, requests: Iterable[bytes], *, is_stream: bool = False) -> None:
        """These requests over all connections; BadAnswer when one is not complete."""
        left = iter(requests)

        async def work(connection: TimedConnection) -> None:
            for request in left:
                await connection.send(request)
                if is_stream and not connection.body.rstrip().endswith(b"data: [DONE]"):
                    raise BadAnswer(f"the stream ends with {connection.body[-100:]!r}")

        await asyncio.gather(*map(work, self._connections))

    async def wave(self, request: bytes) -> Sequence[float]:
        """One stream on each connection at once; seconds to the first answer token of each."""

        async def one(connection: TimedConnection) -> float:
            started = time.perf_counter()
            await connection.send(request)
            if not connection.first_token_at or not connection.body.rstrip().endswith(b"data: [DONE]"):
                raise BadAnswer(f"not a complete answer: {connection.body[:2000]!r}")
            return connection.first_token_at - started

        return await asyncio.gather(*map(one, self._connections))


def _content_of(event: dict[str, Any]) -> str:
    if error := event.get("error"):
        raise BadAnswer(f"error in stream: {error}")
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
