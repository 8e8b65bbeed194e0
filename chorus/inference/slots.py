"""A bounded queue in front of the engine (I2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chorus.errors import QueueFull


class Slots:
    """Admits at most `running` calls at a time; at most `waiting` more wait, in their order."""

    def __init__(self, running: int, waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(running)
        self._most_waiting = waiting
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """The calls that wait."""
        return self._waiting

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot in this block.

        Raises:
            QueueFull: on entering; too many wait.
        """
        if self._limiter.available_tokens < 1 and self._waiting >= self._most_waiting:
            raise QueueFull(f"The worker is busy: {self._waiting} requests wait already.", retry_after=1)
        owner = object()
        self._waiting += 1
        try:
            await self._limiter.acquire_on_behalf_of(owner)
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(owner)
