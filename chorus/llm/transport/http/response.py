"""One response: its head, and the body as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

MAX_BUFFERED: Final = 128 * 1024
"""Bytes that wait to be read before the connection stops reading.

One read of the event loop may bring 256 KiB more.
"""


class Source(Protocol):
    """The connection that a response comes from."""

    def pause_reading(self) -> None:
        """Read nothing from the socket."""

    def resume_reading(self) -> None:
        """Go on reading from the socket."""

    def abandon(self) -> None:
        """Close the connection: the response is not read to its end."""


class Response:
    """The response to one request. A caller that does not read it to its end closes it.

    The connection calls `begin`, `arrived`, `end` and `fail`; the caller awaits `begun` and then
    `readany`.
    """

    __slots__ = (
        "_buffered",
        "_error",
        "_is_over",
        "_is_paused",
        "_loop",
        "_source",
        "_waiter",
        "headers",
        "parts",
        "status",
        "stop_sending",
    )

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._source: Source | None = source
        self._loop = loop
        self.status = 0
        """0 until the head is whole."""
        self.headers: dict[str, str] = {}
        """By name in lower case; of several with one name, the first."""
        self.parts: list[bytes] = []
        """What of the body has come and is not read. The connection appends to it."""
        self._buffered = 0
        self._is_over = self._is_paused = False
        self._error: Callable[[], Exception] | None = None
        """Makes the error anew for each read: an error that is kept keeps the frames it passed."""
        self._waiter: asyncio.Future[None] | None = None
        self.stop_sending: Callable[[], object] | None = None
        """Called when nothing more of the request's body is wanted: the request is refused, or the
        exchange has ended."""

    # --- for the connection

    def begin(self, status: int, headers: dict[str, str]) -> None:
        """The head is whole."""
        self.status = status
        self.headers = headers
        if self.stop_sending is not None and status >= 300:
            self.stop_sending()
        self._wake()

    def arrived(self, size: int) -> None:
        """The connection has appended to `parts`, from `size` received bytes."""
        self._buffered += size
        if self._buffered > MAX_BUFFERED and not self._is_paused and self._source is not None:
            self._is_paused = True
            self._source.pause_reading()
        self._wake()

    def end(self) -> None:
        """The response is whole; the connection is no longer its own."""
        self._is_over = True
        self._source = None
        if self.stop_sending is not None:
            self.stop_sending()
        self._wake()

    def fail(self, error: Callable[[], Exception]) -> None:
        """Nothing more comes, and the response is not whole."""
        self._error = error
        self._source = None
        if self.stop_sending is not None:
            self.stop_sending()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- for the caller

    async def begun(self) -> None:
        """Return when the head is whole.

        Raises: OSError, ClientResponseError: the connection ended before, or what has come is no
        response.
        """
        while not self.status:
            if self._error is not None:
                raise self._error()
            await self._wait()

    async def readany(self) -> bytes:
        """Return what of the body has come, as soon as there is any; nothing at its end.

        Raises:
            OSError, ClientPayloadError: the body is not whole.
        """
        parts = self.parts
        while not parts:
            if self._error is not None:
                raise self._error()
            if self._is_over:
                return b""
            await self._wait()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            if self._source is not None:
                self._source.resume_reading()
        return data

    def close(self) -> None:
        """Close the connection, unless the response is whole."""
        source, self._source = self._source, None
        if source is not None:
            self._error = _closed
            source.abandon()

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None


def _closed() -> Exception:
    return ValueError("the response is closed")
