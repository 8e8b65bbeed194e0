"""The protocol of upstreams that score texts against a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chorus.types import Priority


class Reranker(Protocol):
    """An upstream that scores texts."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, headers: Mapping[str, str], connect_timeout: float
    ) -> list[float]:
        """How well each of `documents` answers `query`, in their order; more is better, and there is no common scale.

        Raises:
            LLMError: the upstream failed, or did not score every document.
        """
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
    ) -> list[float]:
        """See `Reranker.rerank`; waits with this `priority` where the model is busy (K2).

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
        """
        ...
