"""`/v1/rerank` by models to which nothing is relayed, but which score texts (A4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.kit import ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.server.running import running

pytestmark = pytest.mark.requirement("A4")
CONFIG = """
[[model]]
name = "scorer"
provider = "ollama"
api_base = "{base}"
capabilities = ["rerank"]
retries = 0
"""
SCORES = {"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "score": 0.9}, {"index": 2, "score": -1}]}
BODY = {"model": "scorer", "query": "q", "documents": ["a", {"text": "b", "id": 7}, "c"]}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream.on("/rerank", Status(200, SCORES))


@pytest.fixture
async def client(scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    with running(CONFIG.format(base=scripted.base)) as served:
        async with connected(served.base) as client:
            yield client


@pytest.mark.parametrize(
    ("more", "results"),
    [
        ({}, [(1, 0.9), (0, 0.1), (2, -1.0)]),
        ({"top_n": 2}, [(1, 0.9), (0, 0.1)]),
        ({"top_n": 0}, []),
        ({"top_n": 9, "unknown": 1}, [(1, 0.9), (0, 0.1), (2, -1.0)]),
    ],
)
async def test_the_best_come_first(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, more: dict[str, Any], results: list[Any]
) -> None:
    response = await client.post("/v1/rerank", json={**BODY, **more})
    found = [(result["index"], result["relevance_score"]) for result in response.json()["results"]]
    assert found == results
    assert scripted.requests[-1].json == {"model": "scorer", "query": "q", "documents": ["a", "b", "c"]}
    trace = (await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")).json()
    assert trace["workers"][0]["attempts"] == 1


async def test_documents_come_back_where_they_are_wanted(client: httpx.AsyncClient) -> None:
    results = (await client.post("/v2/rerank", json={**BODY, "return_documents": True})).json()["results"]
    assert [result["document"] for result in results] == [{"text": "b", "id": 7}, {"text": "a"}, {"text": "c"}]


async def test_no_documents(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    assert (await client.post("/v1/rerank", json={**BODY, "documents": []})).json()["results"] == []
    assert scripted.requests == []


@pytest.mark.parametrize(
    "body", [{"query": "q"}, {"documents": []}, {"query": 7, "documents": []}, {"query": "q", "documents": [{"id": 1}]}]
)
async def test_what_is_no_request(client: httpx.AsyncClient, scripted: ScriptedUpstream, body: dict[str, Any]) -> None:
    response = await client.post("/v1/rerank", json={"model": "scorer", **body})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert scripted.requests == []


async def test_it_does_nothing_else(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/moderations", json={"model": "scorer", "input": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_feature")


async def test_its_errors_are_the_upstreams(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("/rerank", Status(400, {"error": "too many documents"}))
    response = await client.post("/v1/rerank", json=BODY)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "upstream_refused")
    assert "too many documents" in response.json()["error"]["message"]
