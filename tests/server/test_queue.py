"""The queue over HTTP: bounds, priorities, and clients who leave it (K2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from tests.kit import Gate, Say, ScriptedUpstream
from tests.kit.fixtures import connected
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("K2")
CONFIG = """
[server]
{server}
[[model]]
name = "glm"
api_base = "{base}/v1"
{model}
"""
MODEL, SERVER = ("", "max_concurrency = 1\nmax_waiting = 2\n"), ("max_concurrency = 1\nmax_waiting = 2\n", "")


@pytest.fixture(params=[MODEL, SERVER], ids=["model", "server"])
async def served(request: pytest.FixtureRequest, scripted: ScriptedUpstream) -> AsyncIterator[Running]:
    server, model = request.param
    with running(CONFIG.format(base=scripted.base, server=server, model=model)) as started:
        yield started


async def ask(client: httpx.AsyncClient, text: str, **headers: str) -> httpx.Response:
    body = {"model": "glm", "messages": [{"role": "user", "content": text}]}
    return await client.post("/v1/chat/completions", json=body, headers={"x-priority": "default", **headers})


async def queue_length(client: httpx.AsyncClient) -> int:
    page = (await client.get("/metrics")).text
    return int(float(next(line for line in page.splitlines() if line.startswith("queue_length{")).split()[-1]))


async def wait_for(client: httpx.AsyncClient, length: int) -> None:
    with anyio.fail_after(5):
        while await queue_length(client) != length:
            await anyio.lowlevel.checkpoint()


async def test_order_bounds_and_leaving(served: Running, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate))
    async with connected(served.base) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, "first")
        await scripted.wait_requests(1)
        leaving = anyio.CancelScope()

        async def leave() -> None:
            with leaving:
                await ask(client, "leaves")

        group.start_soon(leave)
        await wait_for(client, 1)
        leaving.cancel()
        await wait_for(client, 0)

        async def wait(text: str, priority: str) -> None:
            assert (await ask(client, text, **{"x-priority": priority})).status_code == 200

        group.start_soon(wait, "second", "batch")
        await wait_for(client, 1)
        group.start_soon(wait, "third", "interactive")
        await wait_for(client, 2)
        full = await ask(client, "too many")
        assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
        assert int(full.headers["retry-after"]) >= 1
        gate.open()
    order = [call.messages[-1]["content"] for call in scripted.calls("glm")]
    assert order == ["first", "third", "second"]


async def test_who_waits_hears_that_somebody_is_there(scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate))
    text = CONFIG.format(base=scripted.base, server=f"{SERVER[0]}heartbeat_secs = 0.05", model="")
    body = {"model": "glm", "messages": [{"role": "user", "content": "second"}], "stream": True}
    with running(text) as served:
        async with connected(served.base) as client, anyio.create_task_group() as group:
            group.start_soon(ask, client, "first")
            await scripted.wait_requests(1)
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                lines = response.aiter_lines()
                assert (await anext(lines)).startswith(":")
                assert await queue_length(client) == 1
                gate.open()
                assert [line async for line in lines][-2:] == ["data: [DONE]", ""]


async def test_a_background_response_is_queued_at_once(scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate))
    text = CONFIG.format(base=scripted.base, server=SERVER[0], model="")
    with running(text) as served:
        async with connected(served.base) as client, anyio.create_task_group() as group:
            group.start_soon(ask, client, "first")
            await scripted.wait_requests(1)
            queued = (
                await client.post("/v1/responses", json={"model": "glm", "input": "?", "background": True})
            ).json()
            assert queued["status"] == "queued"
            await wait_for(client, 1)
            cancelled = await client.post(f"/v1/responses/{queued['id']}/cancel")
            assert cancelled.json()["status"] == "cancelled"
            await wait_for(client, 0)
            gate.open()
        assert len(scripted.calls("glm")) == 1


async def test_embeddings_wait_for_the_same_slots(served: Running, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate), Say())
    async with connected(served.base) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, "first")
        await scripted.wait_requests(1)

        async def embed() -> None:
            response = await client.post("/v1/embeddings", json={"model": "glm", "input": "second"})
            assert response.status_code == 200

        group.start_soon(embed)
        await wait_for(client, 1)
        assert len(scripted.calls("glm")) == 1
        gate.open()
    assert len(scripted.calls("glm")) == 2
    async with connected(served.base) as client:
        await wait_for(client, 0)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed", "/api/embeddings"])
async def test_embeddings_wait_by_priority(served: Running, scripted: ScriptedUpstream, path: str) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate), Say())

    async def embed(client: httpx.AsyncClient, text: str, priority: str) -> None:
        body = {"model": "glm", "prompt" if path == "/api/embeddings" else "input": text}
        assert (await client.post(path, json=body, headers={"x-priority": priority})).status_code == 200

    async with connected(served.base) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, "first")
        await scripted.wait_requests(1)
        group.start_soon(embed, client, "last", "batch")
        await wait_for(client, 1)
        group.start_soon(embed, client, "next", "interactive")
        await wait_for(client, 2)
        gate.open()
    assert [call.json["input"] for call in scripted.calls("glm")[1:]] == [["next"], ["last"]]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/api/embed", "/api/embeddings"])
async def test_a_priority_that_nobody_knows_is_a_400(client: httpx.AsyncClient, path: str) -> None:
    body = {"model": "glm", "messages": [{"role": "user", "content": "x"}], "input": "x", "prompt": "x"}
    response = await client.post(path, json=body, headers={"x-priority": "urgent"})
    assert response.status_code == 400
    assert "X-Priority" in response.text


async def test_service_tier_is_a_priority(served: Running, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one", gate=gate))
    body: dict[str, Any] = {"model": "glm", "messages": [{"role": "user", "content": "x"}]}
    async with connected(served.base) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, "first")
        await scripted.wait_requests(1)

        async def tiered(tier: str) -> None:
            messages = [{"role": "user", "content": tier}]
            await client.post("/v1/chat/completions", json={**body, "messages": messages, "service_tier": tier})

        group.start_soon(tiered, "flex")
        await wait_for(client, 1)
        group.start_soon(tiered, "priority")
        await wait_for(client, 2)
        gate.open()
    assert [call.messages[-1]["content"] for call in scripted.calls("glm")] == ["first", "priority", "flex"]
