"""The application under other ASGI servers than ours: in process (httpx), and under uvicorn as it
comes, with both of its parsers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio
import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Message

from chorus import config as configuration
from chorus.server.app import build_app
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from tests.kit import Hang, Say, ScriptedUpstream, Status
from tests.kit.providers.relayed import form

pytestmark = [pytest.mark.requirement("W13"), pytest.mark.requirement("A5")]

CONFIG = """
[server]
heartbeat_secs = 5  # a stream that is silent for so long begins with 200, whatever comes then

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
capabilities = ["embeddings"]
embedding_batch = {{}}
health_check_secs = 1

[workflow-integration]
json = '''{{"workers": ["glm", "glm"], "synthesizer": "glm"}}'''
"""
USER = {"role": "user", "content": "How?"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [USER]},
    "/v1/completions": {"prompt": "How?"},
    "/v1/responses": {"input": "How?"},
    "/v1/messages": {"messages": [USER], "max_tokens": 9},
    "/api/chat": {"messages": [USER]},
    "/api/generate": {"prompt": "How?"},
}
Parser = Literal["h11", "httptools"]


@asynccontextmanager
async def application(base: str) -> AsyncIterator[ASGIApp]:
    """The application, without a server that would run its lifespan."""
    config = configuration.loads(CONFIG.format(base=base), environ={}, find_problems=workflow_problems)
    chorus = Chorus(config)
    yield build_app(chorus, config)
    await chorus.aclose()


@asynccontextmanager
async def in_process(base: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        application(base) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, chorus: Chorus) -> None:
        super().__init__(config)
        self._chorus = chorus
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._chorus.aclose()  # which the lifespan does, where it is run


@contextmanager
def stock(base: str, parser: Parser, lifespan: Literal["on", "off"]) -> Iterator[str]:
    """uvicorn as it comes, in a thread; its address."""
    config = configuration.loads(CONFIG.format(base=base), environ={}, find_problems=workflow_problems)
    chorus = Chorus(config)
    settings = uvicorn.Config(build_app(chorus, config), http=parser, lifespan=lifespan, log_config=None)
    server = _Server(settings, chorus)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        assert server.up.wait(5)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listening.close()
    assert not thread.is_alive()


@pytest.fixture(params=["httpx", "h11", "httptools", "httptools without lifespan"])
async def client(request: pytest.FixtureRequest, scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    scripted.on("glm", Say("one two three"))
    if request.param == "httpx":
        async with in_process(scripted.base) as client:
            yield client
        return
    parser, _, without = request.param.partition(" ")
    with stock(scripted.base, parser, "off" if without else "on") as address:
        async with httpx.AsyncClient(base_url=address, timeout=10, verify=False) as client:
            yield client


async def test_every_dialect_answers(client: httpx.AsyncClient) -> None:
    for path, body in BODIES.items():
        for model in ("glm", "chorus"):
            for stream in (True, False):
                response = await client.post(path, json={"model": model, "stream": stream, **body})
                assert response.status_code == 200, (path, model, stream, response.text)
                assert "three" in response.text
                assert '"error":{' not in response.text
                assert response.headers["x-request-id"]


async def test_all_else_answers(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    for path in ("/health", "/v1/models", "/api/tags", "/metrics", "/api/v1/upstreams", "/api/v1/workflows"):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get("/nowhere")).status_code == 404
    assert (await client.get("/health", headers={"host": "evil.example.com"})).status_code == 403
    wrong = await client.post("/v1/chat/completions", content=b"{", headers={"x-request-id": "mine"})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["request_id"] == "mine"
    scripted.on("glm", Status(500))
    failed = await client.post("/v1/chat/completions", json={"model": "glm", "stream": True, "messages": [USER]})
    assert failed.status_code == 502


async def test_embeddings_answer(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    scripted.on("glm", Status(200, {"object": "list", "data": [vector], "usage": {"prompt_tokens": 1}}))
    response = await client.post("/v1/embeddings", json={"model": "glm", "input": "a", "encoding_format": "float"})
    assert response.json()["data"][0]["embedding"] == [0.5, 0.25]


async def test_a_background_response_says_what_it_needs(client: httpx.AsyncClient, request: Any) -> None:
    body = {"model": "glm", "input": "How?", "background": True}
    response = await client.post("/v1/responses", json=body)
    if request.node.callspec.params["client"] in ("h11", "httptools"):
        assert response.json()["status"] == "queued"
    else:
        assert response.status_code == 501
        assert "lifespan" in response.json()["error"]["message"]


@pytest.mark.parametrize("parser", ["h11", "httptools"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", BODIES)
async def test_leaving_closes_the_upstream_connection(
    scripted: ScriptedUpstream, served: Mapping[str, str], path: str, stream: bool, parser: Parser
) -> None:
    scripted.on("glm", Hang("body"))
    body = {"model": "glm", "stream": stream, **BODIES[path]}

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=served[parser], timeout=10, verify=False) as client:
            await client.post(path, json=body)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await scripted.wait_requests(1, model="glm")
        left_at = time.monotonic()
        group.cancel_scope.cancel()
    await scripted.wait_idle()
    (request,) = scripted.calls("glm")
    assert request.closed_by_peer_at is not None
    assert request.closed_by_peer_at - left_at < 1.0


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[dict[str, str]]:
    with stock(upstream.base, "h11", "on") as h11, stock(upstream.base, "httptools", "on") as httptools:
        yield {"h11": h11, "httptools": httptools}


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_who_follows_a_background_response_and_leaves_ends_only_that(
    scripted: ScriptedUpstream, served: Mapping[str, str], parser: Parser
) -> None:
    scripted.on("glm", Hang("body"))
    async with httpx.AsyncClient(base_url=served[parser], timeout=10, verify=False) as client:
        body = {"model": "glm", "input": "How?", "background": True}
        response_id = (await client.post("/v1/responses", json=body)).json()["id"]
        await scripted.wait_requests(1, model="glm")
        async with client.stream("GET", f"/v1/responses/{response_id}", params={"stream": "true"}) as followed:
            await anext(followed.aiter_lines())
        assert (await client.get(f"/v1/responses/{response_id}")).json()["status"] == "in_progress"
        assert scripted.in_flight == 1
        await client.post(f"/v1/responses/{response_id}/cancel")
    await scripted.wait_idle()


# --- a server of ASGI alone


def scope(path: str) -> dict[str, Any]:
    """As little as ASGI asks for."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [[b"host", b"localhost"]],
    }


@pytest.mark.parametrize("extensions", [None, {}, {"http.response.push": {}}])
async def test_a_disconnect_that_comes_as_a_message_ends_the_run(
    scripted: ScriptedUpstream, extensions: dict[str, Any] | None
) -> None:
    scripted.on("glm", Hang("body"))
    body = json.dumps({"model": "glm", "stream": True, "messages": [USER]}).encode()
    messages: list[Message] = [
        {"type": "http.request", "body": body[:9], "more_body": True},
        {"type": "http.request", "body": body[9:]},
    ]
    begun = anyio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            begun.set()

    async with application(scripted.base) as app:
        with anyio.fail_after(5):
            await app({**scope("/v1/chat/completions"), "extensions": extensions}, receive, send)
        await scripted.wait_idle()


async def test_a_server_that_raises_where_the_client_is_gone_ends_the_run(scripted: ScriptedUpstream) -> None:
    """ASGI 2.4: `send` raises OSError."""
    scripted.on("glm", Hang("body"))
    body = json.dumps({"model": "glm", "stream": True, "messages": [USER]}).encode()
    is_asked = False

    async def receive() -> Message:
        nonlocal is_asked
        if is_asked:
            await anyio.sleep_forever()
        is_asked = True
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        raise OSError("gone")

    async with application(scripted.base) as app:
        with anyio.fail_after(5):
            await app(scope("/v1/chat/completions"), receive, send)
        await scripted.wait_idle()


async def test_nothing_is_left_waiting_when_the_answer_is_out(scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("one two three"))
    async with in_process(scripted.base) as client:
        await client.post("/v1/chat/completions", json={"model": "glm", "messages": [USER]})
        before = len(asyncio.all_tasks())
        for stream in (True, False):
            await client.post("/v1/chat/completions", json={"model": "glm", "stream": stream, "messages": [USER]})
        assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("is_first", [True, False], ids=["streamed", "spooled"])
async def test_a_form_is_relayed(client: httpx.AsyncClient, scripted: ScriptedUpstream, is_first: bool) -> None:
    """Its body and the disconnect are read from the same place."""
    scripted.on("/v1/audio/transcriptions", Status(200, {"text": "fine"}))
    parts: list[tuple[str, str | bytes, str | None]] = [("model", "glm", None), ("file", b"x" * 600_000, "a.mp3")]
    body, headers = form(*parts[:: 1 if is_first else -1])
    response = await client.post("/v1/audio/transcriptions", content=body, headers=headers)
    assert response.json() == {"text": "fine"}
    posted = [request for request in scripted.requests if request.path == "/v1/audio/transcriptions"]
    assert len(posted[-1].body) == len(body)  # checks of its health come in between


async def test_a_client_that_leaves_a_relayed_call(scripted: ScriptedUpstream) -> None:
    scripted.forget()
    scripted.on("/v1/audio/transcriptions", Hang("connect"))
    body, headers = form(("model", "glm", None), ("file", b"x" * 600_000, "a.mp3"))
    with stock(scripted.base, "httptools", "on") as address:
        async with httpx.AsyncClient(base_url=address, timeout=10, verify=False) as client:
            with anyio.move_on_after(0.5):
                await client.post("/v1/audio/transcriptions", content=body, headers=headers)
        await scripted.wait_idle()
    (call,) = [request for request in scripted.requests if request.method == "POST"]
    assert call.was_cancelled
