"""The kit does what it says: behaviours in every dialect, what is recorded, and clients that
leave.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from . import (
    Cut,
    Empty,
    ErrorInStream,
    Gate,
    Hang,
    Raw,
    Recorded,
    Say,
    ScriptedUpstream,
    Status,
    free_port,
    unaccepting,
)
from .render import vector_of
from .server import ROOT

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
OLLAMA = "/api/chat"
ASK = [{"role": "user", "content": "say something nice"}]
CALL = {"id": "call_1", "name": "add", "arguments": '{"a":1,"b":2}'}


@pytest.fixture
async def up() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def client(up: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=up.base, trust_env=False, timeout=5) as http:
        yield http


def body(model: str = "glm", *, stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASK, "prompt": "nice", "stream": stream, **more}


def events(text: str) -> list[Any]:
    """The data of an SSE stream, `[DONE]` left out."""
    data = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [json.loads(entry) for entry in data if entry != "[DONE]"]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line]


def said(path: str, text: str) -> str:
    """The whole answer of a stream in the dialect of `path`."""
    if path == OLLAMA:
        return "".join(line["message"]["content"] for line in lines(text))
    choices = [choice for event in events(text) for choice in event["choices"]]
    return "".join(c["text"] if path == COMPLETIONS else c["delta"].get("content", "") for c in choices)


# --- answers


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, OLLAMA])
@pytest.mark.parametrize("burst", [False, True])
async def test_says_its_text_in_a_stream(
    up: ScriptedUpstream, client: httpx.AsyncClient, path: str, burst: bool
) -> None:
    up.on("glm", Say("héllo 世界 🎉", burst=burst, headers={"x-kind": "test"}))
    answer = await client.post(path, json=body())
    assert said(path, answer.text) == "héllo 世界 🎉"
    assert answer.headers["content-type"] == ("application/x-ndjson" if path == OLLAMA else "text/event-stream")
    assert answer.headers["x-kind"] == "test"
    assert path == OLLAMA or answer.text.endswith("data: [DONE]\n\n")
    assert path != OLLAMA or lines(answer.text)[-1]["done_reason"] == "stop"


async def test_says_its_text_whole(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Say("hello world", reasoning="hm hm", usage=(3, 5)))
    chat = (await client.post(CHAT, json=body(stream=False))).json()
    assert chat["choices"][0]["message"]["content"] == "hello world"
    assert chat["choices"][0]["message"]["reasoning_content"] == "hm hm"
    assert chat["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    legacy = (await client.post(COMPLETIONS, json=body(stream=False, prompt=["a", "b"], n=2))).json()
    assert [(c["index"], c["text"]) for c in legacy["choices"]] == [(i, "hello world") for i in range(4)]
    native = (await client.post(OLLAMA, json=body(stream=False))).json()
    assert (native["message"]["content"], native["message"]["thinking"]) == ("hello world", "hm hm")
    assert (native["prompt_eval_count"], native["eval_count"], native["done"]) == (3, 5, True)


async def test_reports_usage_only_when_asked(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Say("hello world", usage=(3, 5)))
    plain = events((await client.post(CHAT, json=body())).text)
    asked = events((await client.post(CHAT, json=body(stream_options={"include_usage": True}))).text)
    assert all("usage" not in event for event in plain)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["total_tokens"] == 8


async def test_calls_tools(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Say(tool_calls=[CALL]))
    choices = [event["choices"][0] for event in events((await client.post(CHAT, json=body())).text)]
    deltas = [d for c in choices for d in c["delta"].get("tool_calls", [])]
    assert [("id" in delta, delta["index"]) for delta in deltas] == [(True, 0), (False, 0), (False, 0)]
    assert "".join(delta["function"]["arguments"] for delta in deltas) == CALL["arguments"]
    assert choices[-1]["finish_reason"] == "tool_calls"
    native = lines((await client.post(OLLAMA, json=body())).text)
    assert native[0]["message"]["tool_calls"][0]["function"]["arguments"] == {"a": 1, "b": 2}


async def test_leaves_out_finish_and_terminator(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Say("hello", finish=None, terminator=False))
    text = (await client.post(CHAT, json=body())).text
    assert "[DONE]" not in text
    assert all(event["choices"][0]["finish_reason"] is None for event in events(text))
    assert not any(line["done"] for line in lines((await client.post(OLLAMA, json=body())).text))


async def test_steps_follow_each_other_and_the_last_repeats(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Status(503), lambda request: Say(f"you said {request.last_user_text}"))
    codes = [(await client.post(CHAT, json=body())).status_code for _ in range(3)]
    assert codes == [503, 200, 200]
    text = (await client.post(CHAT, json=body())).text
    assert said(CHAT, text) == "you said say something nice"
    assert said(CHAT, (await client.post(CHAT, json=body("new"))).text) == "answer of new"


async def test_embeds_the_same_text_as_the_same_numbers(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    request = {"model": "bge", "input": ["one", "two"]}
    floats = (await client.post("/v1/embeddings", json=request)).json()["data"]
    coded = (await client.post("/v1/embeddings", json={**request, "encoding_format": "base64"})).json()["data"]
    native = (await client.post("/api/embed", json=request)).json()["embeddings"]
    decoded = [list(struct.unpack("<8f", base64.b64decode(entry["embedding"]))) for entry in coded]
    assert [entry["embedding"] for entry in floats] == decoded == native == [vector_of("one"), vector_of("two")]


async def test_lists_the_scripted_models(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Say("")).on("/api/tags", Status(500))
    assert [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]] == ["glm"]
    assert (await client.get("/api/tags")).status_code == 500
    assert (await client.get("/nowhere")).status_code == 404


# --- misbehaviour


async def test_status_with_its_body_and_headers(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    page = Status(502, "<html>", {"content-type": "text/html", "retry-after": "3"})
    up.on("glm", Status(429, {"a": 1}), page, Status(500))
    assert (await client.post(CHAT, json=body())).json() == {"a": 1}
    html = await client.post(CHAT, json=body())
    assert (html.text, html.headers["content-type"], html.headers["retry-after"]) == (
        "<html>",
        "text/html",
        "3",
    )
    assert (await client.post(CHAT, json=body())).json()["error"]["message"] == "the script says 500"
    assert (await client.post(OLLAMA, json=body())).json()["error"] == "the script says 500"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, OLLAMA])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        (Cut(2), httpx.RemoteProtocolError),
        (Cut(None), httpx.RemoteProtocolError),
        (Cut(1, reset=True), httpx.ReadError),
        (Raw([b"SMTP 220 hello\r\n\r\n"], head=False), httpx.RemoteProtocolError),
    ],
)
async def test_breaks_the_connection(
    up: ScriptedUpstream,
    client: httpx.AsyncClient,
    path: str,
    stream: bool,
    behaviour: Cut | Raw,
    failure: type[Exception],
) -> None:
    up.on("glm", behaviour)
    with pytest.raises(failure):
        await client.post(path, json=body(stream=stream))
    await up.wait_idle()
    assert not up.requests[0].was_cancelled


async def test_cuts_after_so_many_pieces(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Cut(2, "one two three", clean=True))
    assert said(CHAT, (await client.post(CHAT, json=body())).text) == "one two"
    assert said(OLLAMA, (await client.post(OLLAMA, json=body())).text) == "one two"
    truncated = await client.post(CHAT, json=body(stream=False))
    with pytest.raises(ValueError):
        truncated.json()


async def test_error_in_stream(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", ErrorInStream(1, "oom"))
    assert events((await client.post(CHAT, json=body())).text)[-1]["error"]["message"] == "oom"
    assert lines((await client.post(OLLAMA, json=body())).text)[-1] == {"error": "oom"}
    whole = await client.post(CHAT, json=body(stream=False))
    assert (whole.status_code, whole.json()["error"]["message"]) == (200, "oom")


@pytest.mark.parametrize("close", [True, False])
async def test_raw_bytes_arrive_verbatim(up: ScriptedUpstream, client: httpx.AsyncClient, close: bool) -> None:
    chunks = [bytes([byte]) for byte in "data: 世界\r\n".encode()]
    up.on("glm", Raw(chunks, content_type="text/html", status=201, close=close))
    answer = await client.post(CHAT, json=body())
    assert (answer.status_code, answer.content) == (201, b"".join(chunks))
    assert answer.headers["content-type"] == "text/html"


async def test_empty_body(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Empty())
    answer = await client.post(CHAT, json=body())
    assert (answer.status_code, answer.content) == (200, b"")


# --- clients that leave


async def leave(up: ScriptedUpstream, path: str, *, stream: bool, reset: bool) -> Recorded:
    """Send a request on a bare socket, wait until it arrived, and go."""
    content = json.dumps(body(stream=stream)).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: kit\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", up.port)) as sock:
        sock.sendall(head.encode() + content)
        await up.wait_requests(1)
        assert up.in_flight == 1
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await up.wait_idle(1.0)
    return up.requests[0]


@pytest.mark.parametrize("path", [CHAT, OLLAMA])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "behaviour",
    [
        Hang("connect"),
        Hang("headers"),
        Hang("body"),
        Say("hi", first_token=60),
        Say("one two three", gap=60),
        Say("hi", gate=Gate()),
        Raw([b"a", b"b"], gap=60),
        Status(500, delay=60),
    ],
    ids=lambda behaviour: type(behaviour).__name__,
)
async def test_notices_a_client_that_leaves(
    up: ScriptedUpstream, path: str, stream: bool, reset: bool, behaviour: Hang | Say | Raw | Status
) -> None:
    up.on("glm", behaviour)
    request = await leave(up, path, stream=stream, reset=reset)
    assert request.was_cancelled
    assert request.finished_at is None
    assert request.closed_by_peer_at is not None
    assert request.closed_by_peer_at >= request.started_at
    await up.wait_closed(1.0)


async def test_notices_a_client_that_stopped_reading(up: ScriptedUpstream) -> None:
    up.on("glm", Say(pieces=["x" * 100_000] * 100))
    request = await leave(up, CHAT, stream=True, reset=False)
    assert request.was_cancelled


async def test_hang_sends_what_its_stage_allows(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    up.on("glm", Hang("body", pieces=2, text="one two three"))
    got = b""
    async with client.stream("POST", CHAT, json=body()) as answer:
        assert answer.status_code == 200
        async for chunk in answer.aiter_raw():
            got += chunk
            if b" two" in got:
                break
    await up.wait_idle(1.0)
    assert up.requests[0].was_cancelled
    assert b"three" not in got


# --- recording and counting


async def test_records_requests_and_reuses_connections(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    await client.post(CHAT + "?a=1", json=body(), headers={"Authorization": "Bearer k"})
    await client.post(CHAT, json=body("kimi"))
    first, second = up.requests
    assert (first.method, first.path, first.query, first.model) == ("POST", CHAT, "a=1", "glm")
    assert first.headers["authorization"] == "Bearer k"
    assert first.json["messages"] == first.messages == ASK
    assert first.finished_at is not None
    assert first.started_at <= first.finished_at <= second.started_at
    assert (first.connection, second.connection, up.connections_opened) == (1, 1, 1)
    assert (up.open_connections, up.in_flight, up.max_in_flight) == (1, 0, 1)
    assert up.calls("kimi") == [second]


async def test_a_gate_holds_answers_until_opened(up: ScriptedUpstream, client: httpx.AsyncClient) -> None:
    gate = Gate()
    up.on("glm", Say("hello", gate=gate)).on("kimi", Say("one two", gate=gate, gate_at=1))
    asked = [asyncio.create_task(client.post(CHAT, json=body(model))) for model in ("glm", "kimi")]
    await up.wait_requests(2)
    assert up.max_in_flight == up.in_flight == 2
    assert not any(task.done() for task in asked)
    gate.open()
    assert [said(CHAT, answer.text) for answer in await asyncio.gather(*asked)] == ["hello", "one two"]


async def test_waiting_in_vain_says_what_there_was(up: ScriptedUpstream) -> None:
    with pytest.raises(AssertionError, match=r"after 0\.01 s: 0 requests arrived"):
        await up.wait_requests(1, timeout=0.01)


async def test_a_failing_script_fails_the_test() -> None:
    def script(request: Recorded) -> Say:
        raise LookupError(request.model)

    with pytest.raises(LookupError, match="glm"):  # noqa: PT012 - raised where the upstream's block ends
        async with ScriptedUpstream() as up, httpx.AsyncClient(base_url=up.base) as client:
            up.on("glm", script)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(CHAT, json=body())


# --- other ways to run it


def test_serves_from_a_thread() -> None:
    with ScriptedUpstream.in_thread() as up:
        up.on("glm", Say("hello"))
        answer = httpx.post(up.api_base + "/chat/completions", json=body(stream=False), trust_env=False)
        up.wait_requests_blocking(1)
        up.wait_idle_blocking()
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


def test_serves_from_a_process_by_conventions() -> None:
    command = [sys.executable, "-m", "tests.kit"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            base = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=base, trust_env=False) as client:
                pieces = client.post(CHAT, json=body("m-1-0-64")).text
                analysis = client.post(CHAT, json=body("analyzer-1", stream=False)).json()
                echo = client.post(CHAT, json=body("echo-1ms")).text
                assert client.post(CHAT, json=body("status-418")).status_code == 418
        finally:
            process.kill()
    assert len(events(pieces)) == 1 + 64 + 1
    assert json.loads(analysis["choices"][0]["message"]["content"])["task_type"] == "general"
    assert said(CHAT, echo) == "say something nice"


async def test_addresses_that_refuse_or_never_accept() -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=0.2) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{free_port()}")
        with unaccepting() as base, pytest.raises(httpx.ConnectTimeout):
            await client.get(base)
