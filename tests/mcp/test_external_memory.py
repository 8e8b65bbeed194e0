"""`[memory] provider = "mcp"`: the notes on users are those of another MCP server (M5)."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from chorus.auth.keys import KeyFile
from tests.kit import Say, ScriptedUpstream, ServerProcess, free_port
from tests.mcp.memory_server import Notes, memory_server, served, text_server
from tests.server.running import running

pytestmark = pytest.mark.requirement("M5")

MEMORY: Final = "/api/v1/memory"
CONFIG: Final = """
[memory]
provider = "mcp"
recall_timeout_secs = {secs}
{place}

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""
PROGRAM: Final = str(Path(__file__).with_name("memory_server.py"))


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    upstream.forget()
    return upstream.on("glm", Say("Hello"))


def command(*arguments: str) -> str:
    """The place of a memory that is a Python program."""
    return f"command = {json.dumps([sys.executable, *arguments])}"


@asynccontextmanager
async def chorus(
    scripted: ScriptedUpstream, place: str, more: str = "", *, secs: float = 20
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose memory is at `place`, as `ann`."""
    with running(CONFIG.format(place=place, base=scripted.base, secs=secs) + more) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers={"x-user-id": "ann"}) as client:
            yield client


async def ask(client: httpx.AsyncClient, **headers: str) -> tuple[dict[str, Any], str | None]:
    """The stage `recall` of a request, and its warning."""
    body = {"model": "glm", "messages": [{"role": "user", "content": "Hello"}]}
    reply = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    trace = await client.get(f"/api/v1/workflows/{reply.headers['x-chorus-workflow-id']}")
    return trace.json()["recall"], reply.headers.get("x-chorus-warning")


async def check_degraded(client: httpx.AsyncClient) -> None:
    """Requests go on without the notes, and say so."""
    recall, warning = await ask(client)
    assert recall["status"] == "failed"
    assert recall["error"]["code"] == "storage_unavailable"
    assert warning is not None
    assert "could not be read" in warning
    counted = 'chorus_stage_duration_seconds_count{stage="recall",status="failed"}'
    assert counted in (await client.get("/metrics")).text
    assert (await client.get(MEMORY)).status_code == 503


def prompt_of(scripted: ScriptedUpstream) -> str:
    return json.dumps(scripted.calls("glm")[-1].json, ensure_ascii=False)


async def test_notes_are_recalled_and_written_there(scripted: ScriptedUpstream) -> None:
    kept: Notes = {"ann": {"language": "Chinese"}}
    with served(memory_server(kept)) as url:
        async with chorus(scripted, f'url = "{url}"') as client:
            recall, warning = await ask(client)
            assert (recall["status"], recall["notes"], warning) == ("ok", 1, None)
            assert "Chinese" in prompt_of(scripted)
            reply = await client.put(MEMORY, json={"notes": {"language": None, "name": "Ann"}})
            assert reply.json()["notes"] == {"name": "Ann"}
            assert kept == {"ann": {"name": "Ann"}}
            assert (await client.get(MEMORY)).json()["notes"] == {"name": "Ann"}
            assert (await client.get(MEMORY, headers={"x-user-id": "ben"})).json()["notes"] == {}
            assert (await client.delete(MEMORY)).json()["notes"] == {}
            assert kept == {"ann": {}}


async def test_a_program_may_keep_the_notes(scripted: ScriptedUpstream) -> None:
    async with chorus(scripted, command(PROGRAM)) as client:
        with anyio.fail_after(30):
            while (await ask(client))[0]["status"] != "ok":  # it takes two seconds to start
                pass
        assert "Chinese" in prompt_of(scripted)
        assert (await client.put(MEMORY, json={"notes": {"a": "1"}})).json()["notes"] == {
            "language": "Chinese",
            "a": "1",
        }


async def test_another_chorus_may_keep_the_notes(scripted: ScriptedUpstream) -> None:
    with running(CONFIG.format(place="", base=scripted.base, secs=20).replace('provider = "mcp"', "")) as other:
        async with chorus(scripted, f'url = "{other.base}/mcp"') as client:
            await client.put(MEMORY, json={"notes": {"language": "Chinese", "name": "Ann"}})
            await client.delete(MEMORY, params={"key": "name"})
            async with httpx.AsyncClient(base_url=other.base, trust_env=False) as direct:
                kept = (await direct.get(MEMORY, headers={"x-user-id": "ann"})).json()
            assert kept["notes"] == {"language": "Chinese"}
            assert (await client.get(MEMORY)).json() == kept
            await ask(client)
            assert "Chinese" in prompt_of(scripted)


@pytest.mark.parametrize(
    ("said", "notes"),
    [
        ("USER likes tea.", {"memory": "安 likes tea."}),
        ('{"notes": {"drink": "tea"}}', {"drink": "tea"}),
        ('{"drink": "tea", "age": 7}', {"drink": "tea"}),
        (" ", {}),
        ("[1]", {"memory": "[1]"}),
    ],
)
async def test_texts_are_notes_too_and_the_user_may_be_a_header(
    scripted: ScriptedUpstream, said: str, notes: dict[str, str]
) -> None:
    with served(text_server(said)) as url:
        async with chorus(scripted, f'url = "{url}"') as client:
            reply = await client.get(MEMORY, headers={b"x-user-id": "安".encode()})  # type: ignore[dict-item]
            assert reply.json()["notes"] == notes


async def test_what_is_too_much_for_a_prompt_is_left_out(scripted: ScriptedUpstream) -> None:
    kept: Notes = {"ann": {f"{number:03}": "x" * 3000 for number in range(150)} | {"k" * 65: "x"}}
    with served(memory_server(kept)) as url:
        async with chorus(scripted, f'url = "{url}"\nmax_tokens = 1100') as client:
            notes = (await client.get(MEMORY)).json()["notes"]
    assert notes == {"000": "x" * 2000, "001": "x" * 2000}


async def test_a_server_that_is_away_takes_nothing_but_the_notes_and_may_come_back(scripted: ScriptedUpstream) -> None:
    port = free_port()
    async with chorus(scripted, f'url = "http://127.0.0.1:{port}/mcp"') as client:
        for _ in range(2):
            await check_degraded(client)
        for _ in range(2):  # it is restarted
            with served(memory_server({"ann": {"language": "Chinese"}}), port):
                with anyio.fail_after(30):
                    while (await ask(client))[0]["status"] != "ok":
                        pass
                assert "Chinese" in prompt_of(scripted)
        await check_degraded(client)


async def test_a_slow_server_is_not_waited_for(scripted: ScriptedUpstream) -> None:
    with served(memory_server({}, secs=30)) as url:
        async with chorus(scripted, f'url = "{url}"', secs=0.3) as client:
            await ask(client)  # it is connected to
            for _ in range(5):  # it is connected to again meanwhile
                await check_degraded(client)


def _answering(status: int, kind: str, body: bytes) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "application/json", b"garbage"),
        (200, "application/json", b'{"jsonrpc": "2.0", "id": 0, "result": 1}'),
        (200, "text/html", b"<html>"),
        (200, "text/event-stream", b"data: garbage\n\n"),
        (200, "text/event-stream", b"data: " + b"x" * 3_000_000),
        (200, "application/json", b'"' + b"x" * 3_000_000 + b'"'),
        (401, "application/json", b"{}"),
        (404, "text/plain", b""),
        (500, "text/plain", b"oops"),
    ],
    ids=["garbage", "result", "html", "event", "large event", "large", "401", "404", "500"],
)
async def test_garbage_takes_nothing_but_the_notes(
    scripted: ScriptedUpstream, status: int, kind: str, body: bytes
) -> None:
    with served(_answering(status, kind, body)) as url:
        async with chorus(scripted, f'url = "{url}"') as client:
            await check_degraded(client)
            await check_degraded(client)


@pytest.mark.parametrize(
    "place",
    [
        command("-c", "import sys; print('this is no JSON', flush=True); sys.stdin.read()"),
        command("-c", "while True: print('x' * 65536, end='')"),
        command("-c", "raise SystemExit(3)"),
        'command = ["/no/such"]',
    ],
    ids=["garbage", "flood", "gone", "nowhere"],
)
async def test_a_program_that_does_not_work_takes_nothing_but_the_notes(scripted: ScriptedUpstream, place: str) -> None:
    async with chorus(scripted, place, secs=0.5) as client:
        await check_degraded(client)
        await check_degraded(client)


async def test_a_tool_that_fails_takes_nothing_but_the_notes(scripted: ScriptedUpstream) -> None:
    with served(text_server("x")) as url:
        async with chorus(scripted, f'url = "{url}"') as client:
            reply = await client.put(MEMORY, json={"notes": {"a": "1"}})
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "storage_unavailable")
            assert "memory_upsert" in reply.json()["error"]["message"]
            assert (await ask(client))[0]["status"] == "ok"


NOTING: Final = """
[[model]]
name = "noter"
api_base = "{base}/v1"
retries = 0
"""


@pytest.mark.parametrize("reads_only", [False, True])
async def test_what_a_model_notes_is_written_there(scripted: ScriptedUpstream, reads_only: bool) -> None:
    kept: Notes = {}
    scripted.on("noter", Say(json.dumps({"notes": [{"key": "name", "text": "Ann"}]})))
    with served(memory_server(kept, reads_only=reads_only)) as url:
        async with chorus(scripted, f'url = "{url}"\nmodel = "noter"', NOTING.format(base=scripted.base)) as client:
            await client.get(MEMORY)  # it is known now whether notes can be written
            await ask(client)
        # a server that has stopped has read every exchange before
    assert kept == ({} if reads_only else {"ann": {"name": "Ann"}})
    assert len(scripted.calls("noter")) == (0 if reads_only else 1)


async def test_one_name_under_two_keys_is_two_users(tmp_path: Path, scripted: ScriptedUpstream) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    made = [keys.create(name, role="client", models=(), expires=None) for name in ("one", "two")]
    settings = f'[server]\nrequire_auth = true\nkeys_file = "{tmp_path / "keys.json"}"\n'
    kept: Notes = {}
    with (
        served(memory_server(kept)) as url,
        ServerProcess(settings + CONFIG.format(place=f'url = "{url}"', base=scripted.base, secs=20)) as server,
    ):
        async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers={"x-user-id": "ann"}) as client:
            one, two = ({"authorization": f"Bearer {text}"} for text, _ in made)
            await client.put(MEMORY, json={"notes": {"a": "1"}}, headers=one)
            assert (await client.get(MEMORY, headers=two)).json()["notes"] == {}
    assert kept == {f"{made[0][1].id}:ann": {"a": "1"}}


async def test_the_key_of_the_server_is_shown(scripted: ScriptedUpstream) -> None:
    shown: list[bytes | None] = []
    app = memory_server({}).streamable_http_app(stateless_http=True)

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            shown.append(dict(scope["headers"]).get(b"authorization"))
        await app(scope, receive, send)

    with served(watching) as url:
        async with chorus(scripted, f'url = "{url}"\napi_key = "sk-memory"') as client:
            await client.get(MEMORY)
    assert set(shown) == {b"Bearer sk-memory"}
