"""At most so many calls of one model at a time, whatever they ask for (`max_concurrency`, W3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Protocol

import anyio

from chorus.llm.base import Call, Chunk, Upstream
from chorus.llm.embed import NO_EXTRA, Embedder, Embeddings, EmbedInput
from chorus.llm.rerank import Reranker
from chorus.types import Extra, Priority


class Gate(Protocol):
    """Lets so many in at a time; the others wait."""

    async def enter(self, priority: Priority) -> None:
        """Take a slot, or wait for one. Raises ChorusError when there is none to be had."""
        ...

    def leave(self) -> None:
        """Give it back."""
        ...


@asynccontextmanager
async def _inside(gate: Gate | None, priority: Priority) -> AsyncIterator[None]:
    """Hold a slot of `gate` for the block; without one there is nothing to hold."""
    if gate is None:
        yield
        return
    await gate.enter(priority)
    try:
        yield
    finally:
        gate.leave()


class Limited:
    """An upstream that holds another and lets calls into it through a gate."""

    def __init__(self, inner: Upstream, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The slot is given back when the block is left."""
        return _Inside(self._gate, call.priority, self._inner.open(call))


class _Inside(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """A slot of `gate`, and an open call within it. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_gate", "_opened", "_priority")

    def __init__(
        self, gate: Gate, priority: Priority, opened: AbstractAsyncContextManager[AsyncIterator[Chunk]]
    ) -> None:
        self._gate = gate
        self._priority: Priority = priority
        self._opened = opened

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        await self._gate.enter(self._priority)
        try:
            return await self._opened.__aenter__()
        except BaseException:
            self._gate.leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._opened.__aexit__(kind, error, trace)
        finally:
            self._gate.leave()


class LimitedEmbedder:
    """See `QueuedEmbedder`. Without a `gate` nobody waits. A call for several callers (K3) takes
    one slot."""

    def __init__(self, inner: Embedder, gate: Gate | None) -> None:
        self._inner = inner
        self._gate = gate

    async def embed(
        self,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        request_id: str,
        connect_timeout: float,
        priority: Priority,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """See `QueuedEmbedder.embed`."""
        async with _inside(self._gate, priority):
            return await self._inner.embed(
                inputs,
                dimensions=dimensions,
                request_id=request_id,
                connect_timeout=connect_timeout,
                extra=extra,
            )


class LimitedReranker:
    """See `QueuedReranker`. Without a `gate` nobody waits."""

    def __init__(self, inner: Reranker, gate: Gate | None) -> None:
        self._inner = inner
        self._gate = gate

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float, priority: Priority
    ) -> list[float]:
        """See `QueuedReranker.rerank`."""
        async with _inside(self._gate, priority):
            return await self._inner.rerank(query, documents, request_id=request_id, connect_timeout=connect_timeout)


@asynccontextmanager
async def held(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """Hold one slot of `limiter` for the block; waits for one. A task may hold several."""
    borrower = object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        yield
    finally:
        limiter.release_on_behalf_of(borrower)
