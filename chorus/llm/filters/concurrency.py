"""A limit of calls of one model at a time, whatever they ask for (`max_concurrency`, W3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Final, Protocol

import anyio

from chorus.llm.base import Call, Chunk, Upstream
from chorus.llm.embed import EmbedCall, Embedder, Embeddings
from chorus.llm.relay import RelayAnswer, RelayCall
from chorus.llm.rerank import RerankCall, Reranker
from chorus.types import Priority


class Slots(Protocol):
    """A bounded number of slots; callers beyond it wait for one (`admission` has such)."""

    def slot(self, priority: Priority) -> AbstractAsyncContextManager[object]:
        """Return a block that holds a slot, and waits for it first.

        Entering raises ChorusError where there is none to be had.
        """
        ...


_NO_SLOT: Final = nullcontext()


class Limited:
    """An upstream that holds another, and lets so many calls into it at a time."""

    def __init__(self, inner: Upstream, slots: Slots) -> None:
        self._inner = inner
        self._slots = slots

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The slot is given back when the block is left."""
        return _OpenInSlot(self._slots.slot(call.priority), self._inner.open(call))


class _OpenInSlot(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """A slot, and an open call within it. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_opened", "_slot")

    def __init__(
        self, slot: AbstractAsyncContextManager[object], opened: AbstractAsyncContextManager[AsyncIterator[Chunk]]
    ) -> None:
        self._slot = slot
        self._opened = opened

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        await self._slot.__aenter__()
        try:
            return await self._opened.__aenter__()
        except BaseException:
            await self._slot.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._opened.__aexit__(kind, error, trace)
        finally:
            await self._slot.__aexit__(None, None, None)


class LimitedEmbedder:
    """See `Embedder`. Without `slots` nobody waits. A call for several callers (K3) takes one
    slot."""

    def __init__(self, inner: Embedder, slots: Slots | None) -> None:
        self._inner = inner
        self._slots = slots

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""
        async with self._slots.slot(call.priority) if self._slots is not None else _NO_SLOT:
            return await self._inner.embed(call)


class LimitedReranker:
    """See `Reranker`. Without `slots` nobody waits."""

    def __init__(self, inner: Reranker, slots: Slots | None) -> None:
        self._inner = inner
        self._slots = slots

    async def rerank(self, call: RerankCall) -> list[float]:
        """See `Reranker.rerank`."""
        async with self._slots.slot(call.priority) if self._slots is not None else _NO_SLOT:
            return await self._inner.rerank(call)


class PooledRelays(Protocol):
    """A pool, as relayed requests use it."""

    def relay(self, call: RelayCall) -> AbstractAsyncContextManager[RelayAnswer]:
        """See `Relay.open`."""
        ...


class LimitedRelay:
    """See `Relay`; waits for a slot where the model is busy (K2). Without `slots` nobody waits."""

    def __init__(self, inner: PooledRelays, slots: Slots | None) -> None:
        self._inner = inner
        self._slots = slots

    @asynccontextmanager
    async def open(self, call: RelayCall) -> AsyncIterator[RelayAnswer]:
        """See `Relay.open`. The slot is given back when the block is left.

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
        """
        slot = self._slots.slot(call.priority) if self._slots is not None else _NO_SLOT
        async with slot, self._inner.relay(call) as answer:
            yield answer


@asynccontextmanager
async def held(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """Hold one slot of `limiter` for the block; waits for one. A task may hold several."""
    borrower = object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        yield
    finally:
        limiter.release_on_behalf_of(borrower)
