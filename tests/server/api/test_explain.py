"""What a request would take, by HTTP and without asking any model (C6)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from chorus.usage import estimate_tokens
from tests.kit import ScriptedUpstream
from tests.kit.fixtures import connected
from tests.server.running import running

pytestmark = pytest.mark.requirement("C6")

URL = "/api/v1/explain"


async def test_it_tells_the_tree_the_calls_the_time_and_the_cost(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    context = await client.post(URL, json={"model": "chorus"})
    assert context.status_code == 200
    body = context.json()
    assert body["tree"] == [
        "chorus: 2 candidates, 3 calls",
        "  worker       glm",
        "  worker       kimi",
        "  synthesizer  glm",
    ]
    assert (body["model"], body["candidates"], body["calls"], body["at_least_calls"]) == ("chorus", 2, 3, 3)
    assert body["worst_case_secs"] == 120
    assert body["cost"] == {"estimate": None, "partial": 0, "unpriced": ["glm", "kimi"]}
    assert [stage["path"] for stage in body["stages"]] == ["0", "1", "synthesizer"]
    assert body["stages"][2] == {
        "path": "synthesizer", "stage": "synthesizer", "name": "glm", "model": "glm", "calls": 1, "extra_calls": 0,
        "worst_case_secs": 60, "prompt_tokens": 2000, "completion_tokens": 500, "cost": None,
    }  # fmt: skip
    assert scripted.requests == []


@pytest.mark.parametrize(
    "conversation",
    [
        {"messages": [{"role": "user", "content": "What is 6 * 7?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 6 * 7?"}]}]},
        {"input": "What is 6 * 7?"},
        {"prompt": "What is 6 * 7?"},
        {"instructions": "What is 6 * 7?"},
    ],
)
async def test_the_tokens_of_a_conversation_are_estimated(
    client: httpx.AsyncClient, conversation: dict[str, Any]
) -> None:
    body = (await client.post(URL, json={"model": "glm", **conversation})).json()
    assert body["assumed"] == {"prompt_tokens": estimate_tokens("What is 6 * 7?"), "answer_tokens": 500}
    assert body["calls"] == 1


@pytest.mark.parametrize(
    ("given", "assumed"),
    [
        ({}, (1000, 500)),
        ({"max_tokens": 7}, (1000, 7)),
        ({"max_tokens": 7, "answer_tokens": 0, "prompt_tokens": 0}, (0, 0)),
        ({"input": "What is 6 * 7?", "prompt_tokens": 3}, (3, 500)),
        ({"max_tokens": None, "messages": None}, (1000, 500)),
        ({"stream": True, "temperature": 0.5}, (1000, 500)),
    ],
)
async def test_named_tokens_win(client: httpx.AsyncClient, given: dict[str, Any], assumed: tuple[int, int]) -> None:
    body = (await client.post(URL, json={"model": "chorus/team", **given})).json()
    assert tuple(body["assumed"].values()) == assumed


async def test_an_unknown_model_is_a_404_with_the_nearest_names(client: httpx.AsyncClient) -> None:
    context = await client.post(URL, json={"model": "chorus/teem"})
    assert context.status_code == 404
    assert (context.json()["error"]["code"], context.json()["error"]["param"]) == ("model_not_found", "model")
    assert "chorus/team" in context.json()["error"]["nearest"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": 7}, "model"),
        ({"model": "chorus", "prompt_tokens": -1}, "prompt_tokens"),
        ({"model": "chorus", "prompt_tokens": 10**400}, "prompt_tokens"),
        ({"model": "chorus", "answer_tokens": "many"}, "answer_tokens"),
        ({"model": "chorus", "max_tokens": True}, "max_tokens"),
        ({"model": "chorus", "messages": 7}, "messages"),
        ({"model": "chorus", "input": [7]}, "input[0]"),
        ({"model": "chorus", "messages": []}, "input"),
    ],
)
async def test_a_wrong_field_is_a_400_that_names_it(
    client: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    context = await client.post(URL, json=body)
    assert context.status_code == 400
    assert context.json()["error"]["param"] == param


async def test_only_post(client: httpx.AsyncClient) -> None:
    assert (await client.get(URL)).headers["allow"] == "POST"


PRICED = """
[workflow]
max_parallel = 1
[workflow.timeouts]
total_timeout_secs = 100

[[model]]
name = "mine"
api_base = "http://127.0.0.1:9/v1"
price = { input = 1.0, output = 10.0 }

[workflow-integration]
json = '''{"workers": ["mine", "mine"], "selector": "mine", "agreement": {"threshold": 2}}'''
"""


async def test_prices_and_limits_are_those_of_the_configuration() -> None:
    with running(PRICED) as served:
        async with connected(served.base) as client:
            body = (await client.post(URL, json={"model": "chorus", "prompt_tokens": 100, "answer_tokens": 10})).json()
    assert body["cost"]["estimate"] == pytest.approx((3 * 100 + 20 + 3 * 10 * 10) / 1e6)
    assert body["cost"]["unpriced"] == []
    assert (body["at_least_calls"], body["worst_case_secs"]) == (2, 100)


@pytest.mark.requirement("M4")
async def test_the_notes_on_the_user_are_counted(client: httpx.AsyncClient) -> None:
    user = {"x-user-id": "explained"}
    text = "Prefers long and thorough answers. " * 20
    await client.put("/api/v1/memory", json={"notes": {"style": text}}, headers=user)

    async def prompt_tokens(**fields: Any) -> int:
        body = (await client.post(URL, json={"model": "glm", "input": "Hello", **fields}, headers=user)).json()
        return int(body["assumed"]["prompt_tokens"])

    plain = estimate_tokens("Hello")
    assert await prompt_tokens() >= plain + estimate_tokens(text)
    assert await prompt_tokens(memory=False) == plain
    assert await prompt_tokens(prompt_tokens=7) == 7


OPTIONS = """
[[model]]
name = "small"
api_base = "http://127.0.0.1:1"

[[model]]
name = "large"
api_base = "http://127.0.0.1:1"
temperature = 0.5

[workflows.panel]
description = "two readers"
total_timeout_secs = 90
budget = { max_total_tokens = 9000 }
analyzer = "small"
workers = [
    { ref = "small", auto_temperature = true },
    { ref = "large", max_tokens = 200 },
    { name = "pair", workers = ["small", "large"], selector = "large" },
]
refine = { layers = 2, workers = ["large"] }
selector = { ref = "large", temperature = 0.1, passes = 3 }
synthesizer = "large"
quorum = { min = 2, grace_secs = 1 }
agreement = { threshold = 2 }
decisive = true
difficulty = { easy = "small" }
"""


async def test_the_outline_is_the_plan_for_programs() -> None:
    with running(OPTIONS) as server:
        async with httpx.AsyncClient(base_url=server.base) as client:
            body = (await client.post(URL, json={"model": "chorus/panel"})).json()
    outline = body["outline"]
    root = outline["root"]
    assert outline["description"] == "two readers"
    assert outline["limits"]["total_timeout_secs"] == 90
    assert outline["limits"]["max_total_tokens"] == 9000
    first, second = root["layers"]
    assert [node["path"] for node in first] == ["0", "1", "2"]
    assert [node["path"] for node in second] == ["3"]
    assert [node["path"] for node in first[2]["layers"][0]] == ["2/0", "2/1"]
    assert (first[0]["temperature"], first[0]["temperature_source"]) == (None, "analyzer")
    assert (first[1]["temperature"], first[1]["temperature_source"], first[1]["max_tokens"]) == (0.5, "model", 200)
    assert (root["selector"]["temperature"], root["selector"]["passes"]) == (0.1, 3)
    assert root["shortcuts"] == {
        "quorum": {"min": 2, "grace_secs": 1},
        "agreement": {"threshold": 2, "compare": "normalised"},
        "decisive": True,
        "difficulty": {"easy": "small"},
    }
    drawn = {root["analyzer"]["path"], root["selector"]["path"], root["synthesizer"]["path"]}
    assert drawn <= {stage["path"] for stage in body["stages"]}
