"""`/mcp` on a real socket, with the SDK's own client in its modes (M5)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import pytest
from mcp.shared.exceptions import MCPError

from chorus.auth.keys import KeyFile
from tests.kit import Hang, Say, ScriptedUpstream, ServerProcess, Status
from tests.mcp.clients import MODES, PROTOCOLS, TOOLS, called, connected, refused
from tests.server.api.test_memory import away
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M5")

CONFIG: Final = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0

[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0

[workflow-integration]
json = '''{{"workers": ["glm", "kimi"], "selector": "judge", "synthesizer": "glm"}}'''

[[model]]
name = "judge"
api_base = "{base}/v1"
retries = 0
"""
VERDICT: Final = json.dumps({"reasoning": "It is shorter.", "ranking": [1, 2], "best": 1})
ANN: Final = {"X-User-ID": "ann"}
JSON_AND_SSE: Final = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    upstream.forget()
    return upstream.on("glm", Say("one two three")).on("kimi", Say("one two four")).on("judge", Say(VERDICT))


@pytest.fixture(scope="package")
def shared(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.base)) as served:
        yield served


@pytest.fixture
def server(shared: Running, scripted: ScriptedUpstream) -> Running:
    return shared


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_lists_the_tools_with_their_schemas(server: Running, mode: str) -> None:
    async with connected(server.base, mode) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == TOOLS
    for tool in tools:
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
        assert tool.description


@pytest.mark.parametrize("mode", MODES)
async def test_notes_are_written_read_and_deleted(server: Running, mode: str) -> None:
    async with connected(server.base, mode, **{"X-User-ID": mode}) as client:
        written = await called(client, "memory_upsert", notes={"language": "German", "name": "Ann", "gone": None})
        assert (written["user_id"], written["notes"]) == (mode, {"language": "German", "name": "Ann"})
        assert await called(client, "memory_get") == written
        left = await called(client, "memory_delete", key="name")
        assert left["notes"] == {"language": "German"}
        assert (await called(client, "memory_delete"))["notes"] == {}
        assert await called(client, "memory_get") == {"user_id": mode, "notes": {}, "updated_at": None}


async def test_the_notes_are_those_of_the_rest_of_the_server(server: Running, scripted: ScriptedUpstream) -> None:
    async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as http:
        await http.put("/api/v1/memory", json={"notes": {"language": "Chinese"}})
        async with connected(server.base, **ANN) as client:
            assert (await called(client, "memory_get"))["notes"] == {"language": "Chinese"}
            await called(client, "ask", question="Hello", model="glm")
            await called(client, "ask", question="Hello", model="glm", memory=False)
        async with connected(server.base, **ANN, **{"X-Chorus-Memory": "off"}) as client:
            await called(client, "ask", question="Hello", model="glm")
    assert ["Chinese" in json.dumps(request.json) for request in scripted.calls("glm")] == [True, False, False]


@pytest.mark.parametrize("mode", MODES)
async def test_a_workflow_answers_with_its_reason_and_its_stages(server: Running, mode: str) -> None:
    stages: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        stages.append((done, message))

    async with connected(server.base, mode) as client:
        asked = {"question": "How?", "model": "chorus"}
        result = await client.call_tool("ask", asked, progress_callback=progress)
    answer: Any = result.structured_content
    assert answer["answer"] == "one two three"
    assert answer["chosen"] in ("glm", "kimi")
    assert answer["reason"] == "It is shorter."
    assert (answer["calls"], answer["model"], answer["finish_reason"]) == (4, "chorus", "stop")
    assert [text.text for text in result.content if text.type == "text"] == [
        "one two three",
        f"Chosen: {answer['chosen']}. It is shorter.",
    ]
    sentences = [message for _, message in stages]
    assert "glm is answering." in sentences
    assert f"Chosen: {answer['chosen']}. It is shorter." in sentences
    counts = [done for done, _ in stages]
    assert counts == sorted(set(counts))
    async with httpx.AsyncClient(base_url=server.base, trust_env=False) as http:
        trace = await http.get(f"/api/v1/workflows/{answer['workflow_id']}")
    assert trace.json()["request_id"] == answer["request_id"]


async def test_a_single_model_is_asked_with_what_is_given(server: Running, scripted: ScriptedUpstream) -> None:
    async with connected(server.base) as client:
        asked = {"question": "Hi", "model": "kimi", "system": "Be brief.", "max_tokens": 7, "temperature": 0.5}
        answer = await called(client, "ask", **asked)
    assert (answer["answer"], answer["chosen"], answer["reason"]) == ("one two four", None, None)
    [request] = scripted.calls("kimi")
    assert request.json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert (request.json["temperature"], request.json["max_tokens"]) == (0.5, 7)


async def test_models_and_workflows_are_listed(server: Running) -> None:
    async with connected(server.base) as client:
        listed = (await called(client, "list_models"))["models"]
    assert {model["id"]: model["kind"] for model in listed} == {
        "chorus": "workflow",
        "glm": "model",
        "kimi": "model",
        "judge": "model",
    }


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_question_stops_the_models(server: Running, scripted: ScriptedUpstream, mode: str) -> None:
    scripted.on("glm", Hang())
    async with connected(server.base, mode) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "ask", {"question": "Hello", "model": "glm"})
            await scripted.wait_requests(1, model="glm")
            group.cancel_scope.cancel()
        await scripted.wait_idle()
    assert scripted.calls("glm")[0].was_cancelled


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_is_gone_stops_the_models(server: Running, scripted: ScriptedUpstream, mode: str) -> None:
    scripted.on("glm", Hang())
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            async with connected(server.base, mode) as client:
                await client.call_tool("ask", {"question": "Hello", "model": "glm"})

        group.start_soon(ask)
        await scripted.wait_requests(1, model="glm")
        group.cancel_scope.cancel()
    await scripted.wait_idle()
    assert scripted.calls("glm")[0].was_cancelled


@pytest.mark.parametrize("mode", MODES)
async def test_errors_are_sentences_with_a_request_id(server: Running, scripted: ScriptedUpstream, mode: str) -> None:
    scripted.on("kimi", Status(500))
    async with connected(server.base, mode, **{"X-Request-Id": "req-mine"}) as client:
        for sentence, code in [
            (await refused(client, "ask", question="x", model="nope"), "model_not_found"),
            (await refused(client, "ask", question=" "), "invalid_request"),
            (await refused(client, "ask"), "invalid_request"),
            (await refused(client, "ask", question="x", model="kimi"), "upstream_status"),
            (await refused(client, "memory_get"), "invalid_request"),
            (await refused(client, "memory_upsert", notes="x", user_id="ann"), "invalid_request"),
            (await refused(client, "memory_upsert", notes={"": "x"}, user_id="ann"), "invalid_request"),
            (await refused(client, "memory_delete", keys="x", user_id="ann"), "invalid_request"),
            (await refused(client, "memory_get", user_id="x" * 257), "invalid_request"),
        ]:
            assert sentence.endswith(f"({code}, request req-mine)")
            assert "Traceback" not in sentence
        with pytest.raises(MCPError, match="There is no tool 'nope'; there are memory_get"):
            await client.call_tool("nope", {})


async def test_a_user_may_be_named_by_an_argument_but_not_another_one(server: Running) -> None:
    async with connected(server.base) as client:
        await called(client, "memory_upsert", notes={"a": "1"}, user_id="ben")
    async with connected(server.base, **{"X-User-ID": "ben"}) as client:
        assert (await called(client, "memory_get", user_id="ben"))["notes"] == {"a": "1"}
    async with connected(server.base, **ANN) as client:
        assert "another user" in await refused(client, "memory_get", user_id="ben")
        assert "another user" in await refused(client, "ask", question="x", model="glm", user_id="ben")


async def test_a_store_that_is_away_is_an_error_of_the_tool_and_no_end_of_the_question(
    scripted: ScriptedUpstream,
) -> None:
    with running(CONFIG.format(base=scripted.base)) as server:
        away(server)
        async with connected(server.base, **ANN) as client:
            assert "storage_unavailable" in await refused(client, "memory_get")
            answer = await called(client, "ask", question="x", model="glm")
    assert answer["answer"] == "one two three"
    assert "could not be read" in answer["warnings"][0]


async def test_keys_bind_users_models_and_tools(tmp_path: Path, scripted: ScriptedUpstream) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    one, _ = keys.create("one", role="client", models=(), expires=None)
    two, _ = keys.create("two", role="client", models=("kimi",), expires=None)
    settings = f'[server]\nrequire_auth = true\nkeys_file = "{tmp_path / "keys.json"}"\n'
    with ServerProcess(settings + CONFIG.format(base=scripted.base)) as server:
        async with connected(server.base, **ANN, Authorization=f"Bearer {one}") as client:
            await called(client, "memory_upsert", notes={"a": "1"})
        async with connected(server.base, **ANN, Authorization=f"Bearer {two}") as client:
            assert (await called(client, "memory_get"))["notes"] == {}
            assert [model["id"] for model in (await called(client, "list_models"))["models"]] == ["kimi"]
            assert (await called(client, "ask", question="x"))["model"] == "kimi"
            assert "forbidden_model" in await refused(client, "ask", question="x", model="glm")
        async with httpx.AsyncClient(trust_env=False) as http:
            for headers in ({}, {"authorization": "Bearer sk-chorus-wrong"}):
                reply = await http.post(f"{server.base}/mcp", json={}, headers=headers)
                assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_any_of_several_processes_answers(tmp_path: Path, scripted: ScriptedUpstream) -> None:
    config = tmp_path / "chorus.toml"
    store = f'[storage]\nurl = "sqlite:///{tmp_path / "chorus.db"}"\n'
    config.write_text(store + CONFIG.format(base=scripted.base), encoding="utf-8")
    args = ["serve", "--config", str(config), "--workers", "2"]
    with ServerProcess(args=args, env={"CHORUS_LOG": "error"}) as server:
        for mode in MODES:
            user = {"x-user-id": mode}
            for number in range(6):  # each has a connection of its own
                async with connected(server.base, mode, **user) as client:
                    await called(client, "memory_upsert", notes={str(number): "x"})
            async with connected(server.base, mode, **user) as client:
                assert len((await called(client, "memory_get"))["notes"]) == 6
                assert (await called(client, "ask", question="x", model="glm"))["answer"] == "one two three"


async def test_a_rate_limit_holds_for_questions(scripted: ScriptedUpstream) -> None:
    limits = '[limits.routes."/mcp"]\nrequests = "1/minute"\n'
    with running(limits + CONFIG.format(base=scripted.base)) as server:
        async with connected(server.base) as client:
            await called(client, "ask", question="x", model="glm")
            assert "rate_limit_exceeded" in await refused(client, "ask", question="x", model="glm")
            await called(client, "list_models")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"host": "evil.example"}, 403, "forbidden_host"),
        ({"origin": "https://evil.example"}, 403, "forbidden_origin"),
    ],
)
async def test_hosts_and_pages_are_checked_as_everywhere(
    server: Running, headers: dict[str, str], status: int, code: str
) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.post(f"{server.base}/mcp", json={}, headers=JSON_AND_SSE | headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_bodies_that_are_no_messages_are_refused(server: Running) -> None:
    async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=JSON_AND_SSE) as http:
        for body, code in [
            (b"", -32700),
            (b"{", -32700),
            (b"[" * 100_000, -32700),
            (
                b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
                -32700,
            ),
            (b"\xff", -32700),
            (b"[]", -32600),
            (b"1", -32600),
            (b'{"jsonrpc": "2.0"}', None),
            (b'{"jsonrpc": "2.0", "id": {}, "method": "tools/list"}', -32600),
        ]:
            reply = await http.post("/mcp", content=body, headers={"content-type": "application/json"})
            assert reply.status_code == 400, body[:50]
            assert reply.json()["jsonrpc"] == "2.0"
            if code is not None:
                assert reply.json()["error"]["code"] == code
        message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x" * 4_200_000}})
        reply = await http.post("/mcp", content=message)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        for method in ("GET", "DELETE"):
            assert (await http.request(method, "/mcp")).status_code == 405


async def test_an_unforeseen_error_stays_in_the_log(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(server.chorus.memory, "notes", broken)
    async with connected(server.base, **ANN) as client:
        sentence = await refused(client, "memory_get")
    assert "internal_error" in sentence
    assert "secret" not in sentence


PATIENCE_SECS = 60.0
"""A server takes a second to answer and two to stop, and ten times that on a machine that others
load.
"""


@pytest.mark.parametrize("mode", PROTOCOLS)
@pytest.mark.parametrize("with_progress", [False, True])
async def test_a_server_that_stops_says_so(scripted: ScriptedUpstream, mode: str, with_progress: bool) -> None:
    async def progress(done: float, total: float | None, message: str | None) -> None:
        begun.set()

    begun, refusals = anyio.Event(), list[str]()
    scripted.on("glm", Hang())
    settings = "[server]\ndrain_timeout_secs = 1\n"
    with ServerProcess(settings + CONFIG.format(base=scripted.base), env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base, mode) as client, anyio.create_task_group() as group:

            async def ask() -> None:
                asked = {"question": "Hello", "model": "glm"}
                try:
                    with anyio.move_on_after(PATIENCE_SECS):
                        await client.call_tool("ask", asked, progress_callback=progress if with_progress else None)
                except MCPError as error:
                    refusals.append(error.message)

            group.start_soon(ask)
            await scripted.wait_requests(1, model="glm", timeout=PATIENCE_SECS)
            if with_progress:
                with anyio.fail_after(PATIENCE_SECS):
                    await begun.wait()  # while the model is still answering
            server.terminate()
            await anyio.to_thread.run_sync(server.wait, PATIENCE_SECS)
        assert server.exit_code == 0
        assert "Traceback" not in server.log
    [refusal] = refusals
    assert "server_stopping" in refusal
    assert scripted.calls("glm")[0].was_cancelled


async def test_without_the_sdk_there_is_a_sentence(scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chorus.mcp.sdk", None)
    with running(CONFIG.format(base=scripted.base)) as server:
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(2):
                reply = await http.post(f"{server.base}/mcp", json={}, headers=JSON_AND_SSE)
                assert (reply.status_code, reply.json()["error"]["code"]) == (501, "not_supported")
                assert "chorus-llm[mcp]" in reply.json()["error"]["message"]
