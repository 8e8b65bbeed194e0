"""The protocol of upstreams that score texts against a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chorus.llm.base import ignore
from chorus.types import Priority


class Reranker(Protocol):
    """An upstream that scores texts."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, headers: Mapping[str, str], connect_timeout: float
    ) -> list[float]:
        """How well each of `documents` answers `query`, in their order.

        More is better, and there is no common scale.

        Raises:
            LLMError: the upstream failed, or did not score every document.
        """
        ...


class ReplicatedReranker(Protocol):
    """A reranker that has several replicas."""

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        headers: Mapping[str, str],
        connect_timeout: float,
        attempting: Callable[[str], None],
    ) -> list[float]:
        """See `Reranker.rerank`; `attempting` is called with the instance of each attempt."""
        ...


class QueuedReranker(Protocol):
    """What callers ask: a reranker behind the queue of its model."""

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        headers: Mapping[str, str],
        connect_timeout: float,
        priority: Priority,
        attempting: Callable[[str], None] = ignore,
    ) -> list[float]:
        """See `ReplicatedReranker.rerank`; waits with this `priority` where the model is busy (K2).

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
        """
        ...
