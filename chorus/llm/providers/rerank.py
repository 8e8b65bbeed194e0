"""Reranking by `POST /rerank`, as Cohere, Jina, vLLM, TEI and llama.cpp have it."""

from __future__ import annotations

import sys

import msgspec

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.llm.counts import count_of
from chorus.llm.reading.lenient import CHECKED_FROM, REFUSED, build, value_of
from chorus.llm.rerank import RerankCall
from chorus.llm.transport.clients import UpstreamEndpoint
from chorus.wirejson import JSON


class _Result(msgspec.Struct):
    index: JSON = None
    relevance_score: JSON = None
    score: JSON = None


class _Reply(msgspec.Struct):
    results: list[_Result]


_read = msgspec.json.Decoder(_Reply | list[_Result]).decode


def read_scores(raw: bytes, count: int, name: str) -> list[float]:
    """Return the scores of `count` documents, in their order. `name` is the model's, for errors.

    Raises:
        UpstreamProtocol: it is no list of scores, or one is missing.
    """
    try:
        if len(raw) > CHECKED_FROM:
            wirejson.check(raw)
        try:
            body = _read(raw)
        except REFUSED:
            value = value_of(raw)
            body = build({"results": value} if isinstance(value, list) else value, _Reply)
    except (ValueError, RecursionError):
        raise UpstreamProtocol(f"Upstream '{name}' sent something that is no list of scores") from None
    results = body.results if isinstance(body, _Reply) else body
    scores = {count_of(result.index): _score_of(result) for result in results}
    whole = [score for index in range(count) if (score := scores.get(index)) is not None]
    if len(whole) != count:
        raise UpstreamProtocol(f"Upstream '{name}' did not score all of {count} documents")
    return whole


def _score_of(result: _Result) -> float | None:
    """Return a finite number, else None."""
    for score in (result.relevance_score, result.score):
        if isinstance(score, int | float) and not isinstance(score, bool) and abs(score) <= sys.float_info.max:
            return float(score)
    return None


class RerankEndpoint:
    """`POST {api_base}/rerank`."""

    def __init__(self, upstream: UpstreamEndpoint, *, name: str, model: str) -> None:
        self._endpoint = upstream.endpoint("/rerank")
        self._name = name
        self._model = model

    async def rerank(self, call: RerankCall) -> list[float]:
        """See `Reranker.rerank`."""
        body = {"model": self._model, "query": call.query, "documents": list(call.documents)}
        with await self._endpoint.post(
            wirejson.encode_upstream(body), connect_timeout=call.connect_timeout, headers=call.headers
        ) as reply:
            raw = await reply.body()
        return read_scores(raw, len(call.documents), self._name)
