"""At most so many calls of one model at a time (`max_concurrency`, W3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chorus.llm.base import Call, Chunk, Upstream


class Limited:
    """An upstream that holds another and lets at most `limit` calls into it; the others wait in order of arrival."""

    def __init__(self, inner: Upstream, limit: int) -> None:
        self._inner = inner
        self._slots = anyio.CapacityLimiter(limit)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The slot is given back when the block is left."""
        async with held(self._slots), self._inner.open(call) as chunks:
            yield chunks


@asynccontextmanager
async def held(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """Hold one slot of `limiter` for the block; waits for one. A task may hold several."""
    borrower = object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        yield
    finally:
        limiter.release_on_behalf_of(borrower)
