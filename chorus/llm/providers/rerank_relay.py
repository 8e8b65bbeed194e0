"""Reranking in Cohere's and Jina's shape by a `Reranker`, for providers to which nothing is
relayed.

Above: the pool of a model, for which it is one more relay. Below: the scores of `Reranker`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest, UnsupportedFeature
from chorus.llm.relay import RelayAnswer, RelayCall
from chorus.llm.rerank import RerankCall, Reranker
from chorus.wirejson import JSON

_HEADERS: Final = {"content-type": "application/json"}


class _Request(msgspec.Struct):
    query: str
    documents: list[str | dict[str, JSON]]
    top_n: int | None = None
    return_documents: bool | None = None


_read: Final = msgspec.json.Decoder(_Request).decode


class RerankRelay:
    """See `Relay`. It takes "/rerank" only, and ignores fields that it does not know."""

    def __init__(self, reranker: Reranker, name: str) -> None:
        """`name` is the model's, for errors."""
        self._reranker = reranker
        self._name = name

    @asynccontextmanager
    async def open(self, call: RelayCall) -> AsyncIterator[RelayAnswer]:
        """See `Relay.open`.

        Raises:
            UnsupportedFeature: it is asked for something else.
            InvalidRequest: the request lacks a field, or one has the wrong type.
        """
        if call.path != "/rerank":
            raise UnsupportedFeature(f"The provider of the model '{self._name}' has no such endpoint.", param="model")
        body = bytearray()
        async with aclosing(call.body.pieces(self._name)) as pieces:
            async for piece in pieces:
                body += piece
        try:
            request = _read(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as problem:
            raise InvalidRequest(f"This is no request for reranking: {problem}.") from None
        scores: list[float] = []
        if request.documents:
            documents = [*map(_text, request.documents)]
            asked = RerankCall(request.query, documents, call.headers, call.connect_timeout)
            scores = await self._reranker.rerank(asked)
        answer = wirejson.encode({"object": "list", "results": _results(request, scores)})
        yield RelayAnswer(200, {**_HEADERS, "content-length": str(len(answer))}, _parts(answer))


def _text(document: str | dict[str, JSON]) -> str:
    """Return what is scored of a document: an object has it as `text`."""
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(
            "Invalid value for 'documents': expected texts, or objects with 'text'.", param="documents"
        )
    return text


def _results(request: _Request, scores: list[float]) -> list[dict[str, JSON]]:
    """Return the documents in the order of their scores, the best first."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results: list[dict[str, JSON]] = [
        {"index": index, "relevance_score": scores[index]}
        for index in (order if request.top_n is None else order[: max(request.top_n, 0)])
    ]
    if request.return_documents:
        for result in results:
            document = request.documents[result["index"]]
            result["document"] = {"text": document} if isinstance(document, str) else document
    return results


async def _parts(answer: bytes) -> AsyncIterator[bytes]:
    yield answer
