"""`Handover`: what a thread generates, read by the event loop through a bounded buffer (I2).

The loop is woken once for all that came since it looked, not once for each token. Closing it, which
leaving the call does, is what stops the generation.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ROOM: Final = 64
"""Pieces that wait for a reader; gRPC buffers some more."""


class Handover(Generic[T]):
    """The pieces of one answer on their way from a thread to the event loop that made it."""

    def __init__(self, room: int = ROOM) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[T] = deque()
        self._room = room
        self._changed = threading.Condition()
        self._is_ended = False
        self._is_closed = False
        self._error: Exception | None = None

    # --- the thread

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._is_closed

    @property
    def is_full(self) -> bool:
        """Whether as many pieces wait as there is room for."""
        return len(self._items) >= self._room

    @property
    def is_empty(self) -> bool:
        """Whether the reader has all that there is."""
        return not self._items

    def put(self, item: T) -> bool:
        """Hand over a piece, and wait for room before. Return False once nobody reads any more."""
        with self._changed:
            while self.is_full and not self._is_closed:
                self._changed.wait()
        return self.add(item)

    def add(self, item: T) -> bool:
        """Hand over a piece, whether there is room or not.

        Return False once nobody reads any more.
        """
        with self._changed:
            if self._is_closed:
                return False
            self._items.append(item)
            must_wake = len(self._items) == 1
        if must_wake:
            self._wake()
        return True

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more comes, since the answer is whole or has failed.

        The first end counts.
        """
        with self._changed:
            if self._is_ended or self._is_closed:
                return
            self._is_ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the loop is closed: the worker has ended
            self.close()

    # --- the event loop

    async def items(self) -> AsyncIterator[T]:
        """Yield the pieces, as they come.

        Raises:
            Exception: what `end` was given.
        """
        while True:
            self._arrived.clear()
            while self._items:
                yield self._take()
            if self._is_ended and not self._items:
                break
            await self._arrived.wait()
        if self._error is not None:
            raise self._error

    def _take(self) -> T:
        with self._changed:
            item = self._items.popleft()
            self._changed.notify_all()
        return item

    def close(self) -> None:
        """Note that nobody reads any more, and drop what waits."""
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()
