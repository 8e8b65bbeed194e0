"""Reranking: an upstream that scores texts against a question (`POST /rerank`, as Cohere, Jina, vLLM, TEI and llama.cpp have
it), with a verb of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.llm.clients import Site
from chorus.types import Priority


class Reranker(Protocol):
    """An upstream that scores texts."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float
    ) -> list[float]:
        """How well each of `documents` answers `query`, in their order; more is better, and there is no common scale.

        Raises:
            LLMError: the upstream failed, or did not score every document.
        """
        ...


class QueuedReranker(Protocol):
    """What callers ask: a reranker behind the queue of its model."""

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float, priority: Priority
    ) -> list[float]:
        """See `Reranker.rerank`; waits with this `priority` where the model is busy (K2).

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
        """
        ...


class _Result(msgspec.Struct):
    index: int
    relevance_score: float | None = None
    score: float | None = None


class _Reply(msgspec.Struct):
    results: list[_Result]


_read = msgspec.json.Decoder(_Reply | list[_Result]).decode


class RerankEndpoint:
    """`POST {api_base}/rerank`."""

    def __init__(self, site: Site, *, name: str, model: str) -> None:
        self._endpoint = site.endpoint("/rerank")
        self._name = name
        self._model = model

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float
    ) -> list[float]:
        """See `Reranker.rerank`."""
        body = {"model": self._model, "query": query, "documents": list(documents)}
        async with self._endpoint.post(body, connect_timeout=connect_timeout, request_id=request_id) as reply:
            raw = await reply.body()
        try:
            found = _read(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamProtocol(f"Upstream '{self._name}' sent something that is no list of scores") from None
        results = found.results if isinstance(found, _Reply) else found
        scores = {each.index: each.score if each.relevance_score is None else each.relevance_score for each in results}
        told = [scores.get(index) for index in range(len(documents))]
        whole = [score for score in told if score is not None]
        if len(whole) != len(documents):
            raise UpstreamProtocol(f"Upstream '{self._name}' did not score all of {len(documents)} documents")
        return whole
