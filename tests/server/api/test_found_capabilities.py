"""Lists of models say what the upstreams say of them, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from chorus import config as configuration
from tests.kit import Hang, Say, ScriptedUpstream, ServerProcess, Status, free_port
from tests.kit.fixtures import connected
from tests.server.running import running

MODEL = """
[[model]]
name = "{name}"
provider = "{provider}"
api_base = "{base}"
retries = 0
{more}
"""
VLLM = {"object": "list", "data": [{"id": "glm", "max_model_len": 32768}, {"id": "kimi", "max_model_len": 8192}]}


def model(base: str, name: str = "glm", provider: str = "openai", more: str = "") -> str:
    return MODEL.format(name=name, provider=provider, base=base, more=more)


@asynccontextmanager
async def served(config: str) -> AsyncIterator[httpx.AsyncClient]:
    with running(config) as server:
        async with connected(server.base) as client:
            yield client


async def shown(client: httpx.AsyncClient, name: str = "glm") -> tuple[list[str], int | None]:
    """The capabilities and the context window that `/api/show` tells."""
    body = (await client.post("/api/show", json={"model": name})).json()
    return body["capabilities"], body["model_info"].get("chorus.context_length")


def asked(upstream: ScriptedUpstream) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in list(upstream.requests)]


async def test_one_get_for_all_models_of_an_address() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Status(200, VLLM))
        both = model(upstream.api_base) + model(upstream.api_base, "kimi")
        async with served(both) as client:
            assert await shown(client) == (["completion", "tools"], 32768)
            assert await shown(client, "kimi") == (["completion", "tools"], 8192)
            tags = (await client.get("/api/tags")).json()["models"]
            assert [tag["capabilities"] for tag in tags] == [["completion", "tools"]] * 2
            [glm, _] = (await client.get("/v1/models")).json()["data"]
            assert (glm["context_length"], glm["max_model_len"]) == (32768, 32768)
            assert "capabilities" not in glm  # what is only assumed is not shown here
        assert asked(upstream) == [("GET", "/v1/models")]


async def test_ollama_is_asked_for_the_models_that_it_has() -> None:
    show = {
        "capabilities": ["completion", "vision", "thinking"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    }
    async with ScriptedUpstream() as upstream:
        upstream.on("/api/tags", Status(200, {"models": [{"name": "glm:latest", "model": "glm:latest"}]}))
        upstream.on("/api/show", Status(200, show))
        config = model(upstream.base, provider="ollama") + model(upstream.base, "absent", "ollama")
        async with served(config) as client:
            assert await shown(client) == (["completion", "vision", "thinking"], 40960)
            assert await shown(client, "absent") == (["completion"], None)
            assert (await client.get("/v1/models/glm")).json()["capabilities"] == ["completion", "vision", "thinking"]
        assert asked(upstream) == [("GET", "/api/tags"), ("POST", "/api/show")]
        assert upstream.requests[-1].json == {"model": "glm"}


async def test_an_embedding_model_of_ollama() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/api/tags", Status(200, {"models": [{"name": "glm"}]}))
        upstream.on("/api/show", Status(200, {"capabilities": ["embedding"], "model_info": {}}))
        async with served(model(upstream.base, provider="ollama")) as client:
            assert await shown(client) == (["embedding"], None)


BETTER: dict[str, tuple[str, str, Any, tuple[list[str], int]]] = {
    "llama.cpp": (
        "llamacpp",
        "/props",
        {"default_generation_settings": {"n_ctx": 4096}, "modalities": {"vision": True}},
        (["completion", "tools", "vision"], 4096),
    ),
    "LM Studio": (
        "organization_owner",
        "/api/v0/models",
        {"data": [{"id": "glm", "type": "vlm", "max_context_length": 8192, "capabilities": ["tool_use"]}]},
        (["completion", "tools", "vision"], 8192),
    ),
    "Ollama": (
        "library",
        "/api/show",
        {"capabilities": ["completion"], "model_info": {"llama.context_length": 2048}},
        (["completion"], 2048),
    ),
}


@pytest.mark.parametrize("server", BETTER)
async def test_local_servers_are_asked_where_they_say_more(server: str) -> None:
    owner, path, answer, expected = BETTER[server]
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Status(200, {"data": [{"id": "glm", "owned_by": owner}]}))
        upstream.on(path, Status(200, answer))
        async with served(model(upstream.api_base)) as client:
            assert await shown(client) == expected


async def test_the_configuration_wins_and_where_it_says_all_nothing_is_asked() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Status(200, VLLM))
        complete = model(upstream.api_base, more='capabilities = ["vision"]\ncontext_window = 100')
        async with served(complete + model(f"{upstream.base}/b/v1", "kimi", more="capabilities = []")) as client:
            assert await shown(client) == (["completion", "vision"], 100)
            assert asked(upstream) == []
            assert await shown(client, "kimi") == (["completion"], None)


async def test_a_workflow_can_what_all_of_its_workers_can() -> None:
    entry = {"id": "kimi", "supported_parameters": ["max_tokens"], "context_length": 8192}
    async with ScriptedUpstream() as upstream, ScriptedUpstream() as other:
        upstream.on("/v1/models", Status(200, VLLM))
        other.on("/v1/models", Status(200, {"data": [entry]}))
        flow = """[workflow-integration]\njson = '''{"workers": ["glm", "kimi"], "selector": "glm"}'''\n"""
        async with served(model(upstream.api_base) + model(other.api_base, "kimi") + flow) as client:
            assert await shown(client, "chorus") == (["completion"], 8192)


async def test_an_answer_never_waits_and_asks_nothing() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Hang())
        async with served(model(upstream.api_base)) as client:
            body = {"model": "glm", "messages": [{"role": "user", "content": "hi"}]}
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
            assert asked(upstream) == [("POST", "/v1/chat/completions")]
            with anyio.fail_after(5):
                assert await shown(client) == (["completion", "tools"], None)
                assert await shown(client) == (["completion", "tools"], None)
            assert asked(upstream)[1:] == [("GET", "/v1/models")]


@pytest.mark.parametrize(("more", "gets"), [("", 1), ("context_window = 8192", 0)])
async def test_a_session_that_goes_on_asks_for_a_window_that_is_not_configured(more: str, gets: int) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Status(200, VLLM))
        async with served(model(upstream.api_base, more=more)) as client:
            body = {"model": "glm", "messages": [{"role": "user", "content": "hi"}]}
            begun = await client.post("/v1/chat/completions", json={**body, "session": True})
            assert ("GET", "/v1/models") not in asked(upstream)
            going_on = {**body, "session_id": begun.json()["session_id"]}
            assert (await client.post("/v1/chat/completions", json=going_on)).status_code == 200
            assert asked(upstream).count(("GET", "/v1/models")) == gets


@pytest.mark.requirement("C12")
async def test_a_list_is_made_while_a_reload_removes_a_model_of_it() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Hang("headers"))
        both = model(upstream.api_base) + model(upstream.api_base, "kimi")
        with running(both) as server:
            async with connected(server.base) as client, anyio.create_task_group() as group:

                async def listed() -> None:
                    response = await client.get("/v1/models")
                    assert response.status_code == 200
                    assert [entry["id"] for entry in response.json()["data"]] == ["glm", "kimi"]

                group.start_soon(listed)
                await upstream.wait_requests(1)
                server.chorus.reload(configuration.loads(model(upstream.api_base), environ={}))


FAILURES = [Status(404), Status(401), Status(200, b"<html>"), Status(200, b"[" * 100_000), Status(200, {"data": "?"})]


@pytest.mark.parametrize("answer", FAILURES, ids=lambda answer: f"{answer.code} {str(answer.body)[:8]}")
async def test_failures_are_silent(answer: Status) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", answer)
        with ServerProcess(model(upstream.api_base), env={"CHORUS_LOG": "info"}) as server:
            async with connected(server.base) as client:
                assert await shown(client) == (["completion", "tools"], None)
        assert "describe" not in server.log
        assert "warning" not in server.log.lower()


async def test_a_dead_address_is_asked_again_when_it_is_back() -> None:
    port = free_port()
    config = model(f"http://127.0.0.1:{port}/v1", more="health_check_secs = 0.05")
    async with served(config) as client:
        with anyio.fail_after(10):
            while (await client.get("/ready")).status_code == 200:
                continue
            assert await shown(client) == (["completion", "tools"], None)
            async with ScriptedUpstream(port=port) as upstream:
                upstream.on("/v1/models", Status(200, VLLM)).on("glm", Say("hi"))
                while await shown(client) != (["completion", "tools"], 32768):
                    continue


async def test_a_reload_asks_again_and_keeps_what_is_known_until_then() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.on("/v1/models", Status(200, VLLM))
        with ServerProcess(model(upstream.api_base), env={"CHORUS_LOG": "error"}) as server:
            async with connected(server.base) as client:
                assert await shown(client) == (["completion", "tools"], 32768)
                other = {"data": [{"id": "glm", "max_model_len": 1024, "supports_tools": False}]}
                upstream.on("/v1/models", Status(200, other))
                server.reload(model(upstream.api_base) + model(upstream.api_base, "kimi"))
                with anyio.fail_after(10):
                    while "kimi" not in (await client.get("/v1/models")).text:
                        continue
                    while await shown(client) != (["completion"], 1024):
                        continue
        assert asked(upstream).count(("GET", "/v1/models")) == 2
