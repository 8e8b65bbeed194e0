"""`GET /api/v1/workflows`: the list of traces, whole and in short, with its filter.

And a kept trace.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.kit import ScriptedUpstream, Status

pytestmark = pytest.mark.requirement("W9")
PATH = "/api/v1/workflows"
PROMPT = "A question that no trace holds"


async def ask(client: httpx.AsyncClient, model: str, **more: Any) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], **more}
    return (await client.post("/v1/chat/completions", json=body)).headers["x-chorus-workflow-id"]


async def listed(client: httpx.AsyncClient, **query: str | int) -> list[str]:
    response = await client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    return [trace["workflow_id"] for trace in response.json()["workflows"]]


async def test_the_list_is_filtered_and_bounded(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    glm, chorus, kimi = [await ask(client, model) for model in ("glm", "chorus", "kimi")]
    scripted.on("glm", Status(400))
    failed = await ask(client, "glm")
    assert (await listed(client))[:4] == [failed, kimi, chorus, glm]
    assert await listed(client, limit=2) == [failed, kimi]
    assert (await listed(client, workflow="glm"))[:2] == [failed, glm]
    assert failed in await listed(client, status="failed")
    assert glm not in await listed(client, status="failed")
    assert await listed(client, id=chorus[3:]) == [chorus]
    assert await listed(client, min_duration_ms=3_600_000, summary="true") == []


async def test_a_summary_has_the_figures_and_no_text(client: httpx.AsyncClient) -> None:
    id = await ask(client, "chorus")
    trace = (await client.get(f"{PATH}/{id}")).json()
    [short] = (await client.get(PATH, params={"id": id, "summary": "true"})).json()["workflows"]
    for name in ("workflow", "status", "started_at", "duration_ms", "first_token_ms", "calls", "usage", "shortcuts"):
        assert short[name] == trace[name], name
    assert trace["calls"] > 1
    assert trace["first_token_ms"] is not None
    assert [worker.keys() for worker in short["workers"]] == [{"name", "model", "status"}] * len(trace["workers"])


async def test_a_kept_trace_holds_the_answers_and_a_response_has_them_once(client: httpx.AsyncClient) -> None:
    body = {"model": "chorus", "messages": [{"role": "user", "content": PROMPT}], "include_workflow": True}
    response = (await client.post("/v1/chat/completions", json=body)).json()
    assert "answers" not in response["workflow"]
    kept = await client.get(f"{PATH}/{response['workflow']['workflow_id']}")
    [answer] = kept.json()["answers"]
    assert answer["text"] == response["choices"][0]["message"]["content"]
    assert PROMPT not in kept.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("0", "1001", "-1", "many", "")),
        *(("status", value) for value in ("running", "ok,failed", "")),
        *(("min_duration_ms", value) for value in ("-1", "nan", "inf", "soon", "")),
        *(("summary", value) for value in ("1", "yes", "")),
    ],
)
async def test_a_wrong_query_is_refused_by_name(client: httpx.AsyncClient, name: str, value: str) -> None:
    response = await client.get(PATH, params={name: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name
