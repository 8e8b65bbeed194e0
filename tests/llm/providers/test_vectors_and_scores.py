"""Embeddings and scores of upstreams, with something odd in them (L3, A4)."""

from __future__ import annotations

import pytest

from chorus.errors import UpstreamProtocol
from chorus.llm.embed import EmbedCall
from chorus.llm.rerank import RerankCall
from chorus.llm.transport.clients import Clients
from chorus.usage import Usage
from tests.kit import ScriptedUpstream
from tests.llm.answers import ODD, obj, whole
from tests.llm.reaching import PROVIDERS, reached

pytestmark = pytest.mark.requirement("L3")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_embeddings_with_odd_counts(scripted: ScriptedUpstream, clients: Clients, provider: str) -> None:
    embedder = reached(scripted.api_base if provider == "openai" else scripted.base, clients, provider).embedder
    assert embedder is not None
    entries = '[{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2.5]}]'
    for odd in (*ODD, "7", None):
        if provider == "openai":
            scripted.on(
                "/v1/embeddings", whole(obj(data=entries, **({"usage": obj(prompt_tokens=odd)} if odd else {})))
            )
        else:
            count = {"prompt_eval_count": odd} if odd else {}
            scripted.on("/api/embed", whole(obj(embeddings="[[1, 2.5], [3, 4]]", **count)))
        found = await embedder.embed(EmbedCall(["a", "b"]))
        assert found.vectors == [[1, 2.5], [3, 4]], odd
        assert found.usage == (Usage(7) if odd == "7" else Usage(2, estimated=True)), odd


@pytest.mark.parametrize(
    "entries",
    [
        '[{"index": 0, "embedding": [1]}]',
        '[{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [null]}]',
        '[{"index": 0, "embedding": [1]}, 7]',
        "{}",
        "null",
    ],
)
async def test_embeddings_that_are_not_all_there(scripted: ScriptedUpstream, clients: Clients, entries: str) -> None:
    scripted.on("/v1/embeddings", whole(obj(data=entries)))
    embedder = reached(scripted.api_base, clients).embedder
    assert embedder is not None
    with pytest.raises(UpstreamProtocol, match="embeddings"):
        await embedder.embed(EmbedCall(["a", "b"]))


@pytest.mark.parametrize("index", ["null", '"x"', "0", "9", "-1", "true"])
async def test_embeddings_whose_index_is_none_are_in_the_order_in_which_they_came(
    scripted: ScriptedUpstream, clients: Clients, index: str
) -> None:
    entries = f'[{{"index": {index}, "embedding": [1]}}, {{"index": {index}, "embedding": [2]}}]'
    scripted.on("/v1/embeddings", whole(obj(data=entries)))
    embedder = reached(scripted.api_base, clients).embedder
    assert embedder is not None
    found = await embedder.embed(EmbedCall(["a", "b"]))
    assert found.vectors == [[1], [2]]


GOOD_SCORES = '{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 2}'


@pytest.mark.parametrize(
    ("body", "scores"),
    [
        (f'{{"results": [{GOOD_SCORES}], "usage": {{"total_tokens": -1}}, "id": "\\ud83d", "meta": NaN}}', [2, 0.5]),
        (f"[{GOOD_SCORES}]", [2, 0.5]),
        (f'{{"results": [{GOOD_SCORES}, null, 5, {{"index": "x"}}, {{"index": 7, "score": 1}}]}}', [2, 0.5]),
        ('[{"index": 0, "score": 1, "relevance_score": NaN}, {"index": 1, "score": 2, "text": "\udcff"}]', [1, 2]),
        ('[{"index": 0, "score": 1}, {"index": 1, "score": 1e999}]', None),
        (f'[{{"index": 0, "score": 1}}, {{"index": 1, "score": {"9" * 400}}}]', None),
        ('[{"index": 0, "score": true}, {"index": 1, "score": "2"}]', None),
        (f'{{"results": {{"a": [{GOOD_SCORES}]}}}}', None),
        ("{}", None),
        ("7", None),
    ],
)
async def test_scores(scripted: ScriptedUpstream, clients: Clients, body: str, scores: list[float] | None) -> None:
    scripted.on("/v1/rerank", whole(body))
    reranker = reached(scripted.api_base, clients, reranks=True).reranker
    assert reranker is not None
    if scores is None:
        with pytest.raises(UpstreamProtocol, match="score"):
            await reranker.rerank(RerankCall("q", ["a", "b"]))
    else:
        assert await reranker.rerank(RerankCall("q", ["a", "b"])) == scores
