"""The protocol of upstreams that score texts against a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from chorus.llm.base import CONNECT_SECS, NO_HEADERS, ignore
from chorus.types import Priority


class RerankCall(msgspec.Struct, frozen=True):
    """What is asked of a reranker: how well each of `documents` answers `query`."""

    query: str
    documents: Sequence[str]
    headers: Mapping[str, str] = NO_HEADERS
    connect_timeout: float = CONNECT_SECS
    priority: Priority = "default"
    """How it waits where the model is busy (K2)."""
    attempting: Callable[[str], None] = ignore
    """Called with the instance of each attempt, where there are replicas."""


class Reranker(Protocol):
    """An upstream that scores texts."""

    async def rerank(self, call: RerankCall) -> list[float]:
        """Return the scores of the documents, in their order.

        More is better, and there is no common scale.

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
            LLMError: the upstream failed, or did not score every document.
        """
        ...
