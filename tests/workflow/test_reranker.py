"""The reranker: a selector that scores candidates one by one, or by an endpoint made for it (W6,
W12).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from chorus.errors import UpstreamConnect, UpstreamProtocol
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.fake import Fails, FakeUpstream, Hangs, Says
from chorus.llm.registry import build
from chorus.llm.rerank import RerankCall
from chorus.llm.transport.clients import Clients
from chorus.workflow.kinds import installed
from chorus.workflow.model import Model, Price
from tests.kit import ScriptedUpstream, Status
from tests.workflow.running import fake_models, on_trio, run_plan

pytestmark = pytest.mark.requirement("W12")
TREE: dict[str, Any] = {"workers": ["x", "y"], "selector": {"kind": "reranker", "ref": "s"}}
KINDS = installed()


def score(call: Call) -> str:
    good = "right" in call.request.messages[-1].text
    return json.dumps({"score": 9 if good else 3, "reason": "it is right" if good else "it is not"})


class Scores:
    """A reranking endpoint that likes what is right."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    async def rerank(self, call: RerankCall) -> list[float]:
        call.attempting("s@here")
        self.queries.append(call.query)
        return [0.9 if "right" in document else 0.1 for document in call.documents]


@on_trio
async def test_a_model_scores_each_candidate_by_itself() -> None:
    models = fake_models(s=FakeUpstream(Says(score)))
    result = await run_plan(TREE, models, kinds=KINDS)
    assert result.delivered == "the right answer"
    selector = result.trace["selector"]
    assert (selector["selected_worker"], selector["reasoning"]) == ("y", "it is right")
    assert selector["scores"] == {"x": 3.0, "y": 9.0}
    assert selector["usage"]["total_tokens"] == 30
    for call in models["s"].calls:
        assert call.request.messages[-1].text.count("<candidate ") == 1


@pytest.mark.parametrize("broken", [Fails(UpstreamConnect("away")), Says("garbage"), Says('{"score": "good"}')])
def test_a_candidate_that_could_not_be_scored_stands_below(broken: Any) -> None:
    @on_trio
    async def test() -> None:
        result = await run_plan(TREE, fake_models(s=FakeUpstream(broken, Says(score))), kinds=KINDS)
        assert result.trace["selector"]["status"] == "ok"
        assert result.trace["status"] == "degraded"

    test()


@on_trio
async def test_when_none_can_be_scored_a_rule_decides() -> None:
    result = await run_plan({**TREE, "synthesizer": "z"}, fake_models(s=FakeUpstream(Hangs())), kinds=KINDS)
    assert result.trace["selector"]["status"] == "fallback"
    assert result.delivered == "the final answer"


@on_trio
async def test_an_endpoint_is_asked_once() -> None:
    scores = Scores()
    model = Model("s", FakeUpstream(), reranker=scores)
    result = await run_plan(TREE, fake_models(), models={"s": model}, kinds=KINDS)
    assert result.delivered == "the right answer"
    assert scores.queries == ["How?"]
    [rerank] = result.trace["selector"]["passes"]
    assert (rerank["name"], rerank["model"], rerank["instance_id"], rerank["attempts"]) == ("rerank", "s", "s@here", 1)


@pytest.mark.requirement("M6")
@on_trio
async def test_reranking_by_an_endpoint_costs_what_it_read() -> None:
    model = Model("s", FakeUpstream(), reranker=Scores(), price=Price(input=1_000_000))
    result = await run_plan(TREE, fake_models(), models={"s": model}, kinds=KINDS)
    [rerank] = result.trace["selector"]["passes"]
    tokens = rerank["usage"]["prompt_tokens"]
    assert rerank["usage"] == {
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "total_tokens": tokens,
        "estimated": True,
    }
    assert tokens > 2 * len("How?") / 4
    assert result.trace["cost"] == tokens


@pytest.mark.parametrize(
    "reply",
    [
        {"results": [{"index": 1, "relevance_score": 0.2}, {"index": 0, "relevance_score": 0.7}]},
        [{"index": 0, "score": 0.7}, {"index": 1, "score": 0.2}],
    ],
)
async def test_the_wire(reply: Any) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/rerank", Status(200, reply))
        clients = Clients()
        address = ModelAddress("s", "openai", (ReplicaAddress(upstream.api_base, "k"),), "bge", reranks=True)
        reranker = build(address, clients).reranker
        assert reranker is not None
        scores = await reranker.rerank(RerankCall("q", ["a", "b"]))
        assert scores == [0.7, 0.2]
        with pytest.raises(UpstreamProtocol):
            await reranker.rerank(RerankCall("q", ["a", "b", "c"]))
        first = upstream.requests[0]
        assert first.path == "/v1/rerank"
        assert first.json == {"model": "bge", "query": "q", "documents": ["a", "b"]}
        assert first.headers["authorization"] == "Bearer k"
        await clients.aclose()


@pytest.mark.parametrize("spec", [{}, {"ref": ""}, {"ref": "s", "timeout_secs": 0}, {"ref": "s", "tpyo": 1}])
@pytest.mark.requirement("C8")
def test_what_is_wrong_is_said(spec: dict[str, Any]) -> None:
    assert KINDS["reranker"].problems({"kind": "reranker", **spec})
