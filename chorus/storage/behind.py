"""Writes that nobody waits for: they begin in an observer of a journal, which must not wait.

Above: whoever keeps something at the end of a run. Below: any store. The server finishes the writes
that wait before it stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.lowlevel
import structlog

from chorus.errors import ChorusError
from chorus.tasks import surviving

Key = tuple[str, str, str]
"""Kind, owner and id of a record."""

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Writes that may wait, and the bytes of them."""
_WRITE_SECS: Final = 10.0
"""How long one write may take: SQLite waits 5 s for a lock, Redis 1 s for an answer."""
_DRAIN_SECS: Final = 10.0
"""How long a server that stops begins writes that wait."""

_log = structlog.get_logger("chorus.storage")


class _Write:
    """One write, and a signal that it is over."""

    __slots__ = ("done", "key", "size", "write")

    def __init__(self, key: Key, size: int, write: Callable[[], Awaitable[object]]) -> None:
        self.key = key
        self.size = size
        self.write = write
        self.done = anyio.Event()


class WriteBehind:
    """Does writes one after the other, in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: deque[_Write] = deque()
        self._last: dict[Key, _Write] = {}
        self._bytes = 0
        self._added = anyio.Event()
        self._is_open = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Do writes while the block lasts, and at its end those that wait still."""
        self._is_open = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._run)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
        finally:
            self._is_open = False
            with anyio.move_on_after(_DRAIN_SECS, shield=True):
                await self._drain()
            if self._waiting:
                _log.error("storage: writes are lost, since they took too long", writes=len(self._waiting))
            while self._waiting:
                self._finish()

    def add(self, key: Key, size: int, write: Callable[[], Awaitable[object]]) -> bool:
        """Call `write` soon, which holds `size` bytes. What it raises is logged. False where it is
        not called, since too many wait, or nothing is open: that is logged, too."""
        if not self._is_open or len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            _log.warning("storage: a record is not kept", kind=key[0], writes=len(self._waiting), bytes=self._bytes)
            return False
        waiting = _Write(key, size, write)
        self._waiting.append(waiting)
        self._last[key] = waiting
        self._bytes += size
        self._added.set()
        return True

    async def settled(self, key: Key) -> None:
        """Return when no write of this record waits: what is read then has all that was added."""
        while (waiting := self._last.get(key)) is not None:
            await waiting.done.wait()

    async def settled_all(self, kind: str, owner: str) -> None:
        """Return when no write waits that waits now, of the records of this kind and owner."""
        for key in [key for key in self._last if key[:2] == (kind, owner)]:
            await self.settled(key)

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            self._added = anyio.Event()
            await self._drain()

    async def _drain(self) -> None:
        while self._waiting:
            await anyio.lowlevel.checkpoint()
            kind, write = self._waiting[0].key[0], self._waiting[0].write
            # shielded, so that a write that has begun is not begun again
            with anyio.move_on_after(_WRITE_SECS, shield=True) as scope, surviving("a record could not be kept"):
                try:
                    await write()
                except ChorusError as problem:
                    _log.warning("storage: a record is not kept", kind=kind, problem=problem.log_message)
            if scope.cancelled_caught:
                _log.warning("storage: a record may not be kept: its write takes too long", kind=kind)
            self._finish()

    def _finish(self) -> None:
        """Forget the first write that waits, and wake those who wait for it."""
        first = self._waiting.popleft()
        self._bytes -= first.size
        if self._last.get(first.key) is first:
            del self._last[first.key]
        first.done.set()
