"""A request with `X-User-ID`: its upstream reads the notes on the user, in every dialect (M4)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess, Status
from tests.server.api.test_memory import ANN, MEMORY, MODEL, away
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M4")

NOTE: Final = '"language": "Chinese"'
MESSAGES: Final = [{"role": "user", "content": "Hello"}]
BODIES: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 100},
    "/api/chat": {"messages": MESSAGES, "stream": False},
    "/api/generate": {"prompt": "Hello", "stream": False},
}
CHAT: Final = "/v1/chat/completions"
WORKFLOW: Final = """
[workflow-integration]
workers = ["glm", "glm"]
synthesizer = "glm"
"""


@pytest.fixture
def server(upstream: ScriptedUpstream) -> Iterator[Running]:
    upstream.forget()
    upstream.on("glm", Say("Hello"))
    with running(MODEL.format(base=upstream.base) + WORKFLOW) as served:
        yield served


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base, trust_env=False) as client:
        reply = await client.put(MEMORY, json={"notes": {"language": "Chinese"}}, headers=ANN)
        assert reply.status_code == 200
        yield client


async def ask(client: httpx.AsyncClient, path: str = CHAT, *, model: str = "glm", **headers: str) -> httpx.Response:
    reply = await client.post(path, json={"model": model, **BODIES[path]}, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply


async def trace_of(client: httpx.AsyncClient, reply: httpx.Response) -> dict[str, Any]:
    trace = await client.get(f"/api/v1/workflows/{reply.headers['x-chorus-workflow-id']}")
    return dict(trace.json())


def text_of(request: Recorded) -> str:
    return json.dumps(request.json, ensure_ascii=False).replace('\\"', '"')


@pytest.mark.parametrize("path", BODIES)
async def test_the_upstream_reads_the_notes_on_the_user(
    upstream: ScriptedUpstream, client: httpx.AsyncClient, path: str
) -> None:
    with_user, without = await ask(client, path, **ANN), await ask(client, path)
    first, second = map(text_of, upstream.calls("glm"))
    assert NOTE in first
    assert NOTE not in second
    assert (await trace_of(client, with_user))["recall"]["notes"] == 1
    assert "recall" not in await trace_of(client, without)


@pytest.mark.parametrize("path", BODIES)
async def test_one_request_opts_out(upstream: ScriptedUpstream, client: httpx.AsyncClient, path: str) -> None:
    by_header = await ask(client, path, **ANN, **{"x-chorus-memory": "off"})
    body = {"model": "glm", **BODIES[path], "memory": False}
    by_body = await client.post(path, json=body, headers=ANN)
    for reply in (by_header, by_body):
        assert "recall" not in await trace_of(client, reply)
    for request in upstream.calls("glm"):
        assert NOTE not in text_of(request)
        assert "memory" not in request.json


async def test_another_user_has_other_notes(upstream: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    await ask(client, **{"x-user-id": "ben"})
    assert NOTE not in text_of(upstream.calls("glm")[0])


async def test_the_prompt_is_the_same_from_request_to_request(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    await ask(client, **ANN)
    await ask(client, **ANN)
    first, second = (request.json["messages"] for request in upstream.calls("glm"))
    assert first == second
    assert [message["role"] for message in first] == ["system", "user"]


async def test_every_model_of_a_workflow_reads_the_notes(upstream: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    reply = await ask(client, model="chorus", **ANN)
    assert len(upstream.calls("glm")) == 3
    assert all(NOTE in text_of(request) for request in upstream.calls("glm"))
    assert (await trace_of(client, reply))["recall"]["status"] == "ok"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_is_away_costs_the_notes_only(
    server: Running, upstream: ScriptedUpstream, client: httpx.AsyncClient, stream: bool
) -> None:
    away(server)
    reply = await client.post(CHAT, json={"model": "glm", "messages": MESSAGES, "stream": stream}, headers=ANN)
    assert reply.status_code == 200
    assert "Hello" in reply.text
    assert "notes on the user" in reply.headers["x-chorus-warning"]
    trace = await trace_of(client, reply)
    assert (trace["status"], trace["recall"]["status"]) == ("degraded", "failed")
    assert trace["recall"]["error"]["code"] == "storage_unavailable"


async def test_an_error_says_so_too(server: Running, upstream: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    away(server)
    upstream.on("glm", Status(500))
    reply = await client.post(CHAT, json={"model": "glm", "messages": MESSAGES}, headers=ANN)
    assert reply.status_code >= 500
    assert "notes on the user" in reply.headers["x-chorus-warning"]


async def test_a_stream_that_shows_progress_tells_it(server: Running, client: httpx.AsyncClient) -> None:
    away(server)
    body = {"model": "glm", "messages": MESSAGES, "stream": True}
    reply = await client.post(CHAT, json=body, headers={**ANN, "x-chorus-progress": "true"})
    assert "memory is read." in reply.text
    assert "memory failed after" in reply.text


async def test_notes_outlive_their_process(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.forget()
    upstream.on("glm", Say("Hello"))
    config = f'[storage]\nurl = "sqlite:///{tmp_path / "chorus.db"}"\n{MODEL.format(base=upstream.base)}'
    with ServerProcess(config) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False) as client:
            await client.put(MEMORY, json={"notes": {"language": "Chinese"}}, headers=ANN)
    with ServerProcess(config) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False) as client:
            reply = await ask(client, **ANN)
            assert (await trace_of(client, reply))["recall"]["notes"] == 1
    assert NOTE in text_of(upstream.calls("glm")[0])
