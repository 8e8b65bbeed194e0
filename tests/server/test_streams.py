"""Streams: framing, the held status line, heartbeats, the trace's place (A1, A5, W8, W9)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit import ErrorInStream, Gate, Hang, Say, ScriptedUpstream, Status

CHAT = "/v1/chat/completions"
ASKING = {"model": "glm", "messages": [{"role": "user", "content": "How?"}], "prompt": "How?", "stream": True}
SSE_PATHS = (CHAT, "/v1/completions", "/v1/responses")
OLLAMA_PATHS = ("/api/chat", "/api/generate")


def body(path: str, **more: Any) -> dict[str, Any]:
    unwanted = "prompt" if path in (CHAT, "/api/chat", "/v1/responses") else "messages"
    return {key: value for key, value in ASKING.items() if key != unwanted} | more


def events(text: str) -> list[str]:
    assert text.endswith("\n\n")
    return [line[6:] for event in text.split("\n\n") for line in event.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize("path", SSE_PATHS)
@pytest.mark.requirement("A5")
async def test_server_sent_events(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, json=body(path))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    sent = events(response.text)
    assert (sent[-1] == "[DONE]") == (path != "/v1/responses")
    for event in sent[: None if path == "/v1/responses" else -1]:
        assert json.loads(event)


@pytest.mark.parametrize("path", OLLAMA_PATHS)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "*/*"])
@pytest.mark.requirement("A1")
async def test_json_lines(client: httpx.AsyncClient, path: str, accept: str) -> None:
    asked = body(path)
    del asked["stream"]  # absent means true
    response = await client.post(path, json=asked, headers={"accept": accept})
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    lines = [json.loads(line) for line in response.text.split("\n")[:-1]]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all("error" not in line for line in lines)
    assert all(line["created_at"].endswith("Z") for line in lines)


@pytest.mark.parametrize("path", OLLAMA_PATHS)
@pytest.mark.requirement("A1")
async def test_ollama_as_server_sent_events(client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str) -> None:
    headers = {"accept": "text/event-stream"}
    response = await client.post(path, json=body(path), headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    sent = events(response.text)
    assert sent[-1] == "[DONE]"
    assert json.loads(sent[-2])["done"] is True
    assert ("response" if path == "/api/generate" else "message") in json.loads(sent[0])
    refused = await client.post(path, json={**body(path), "model": "none"}, headers=headers)
    assert refused.json()["error"]["code"] == "model_not_found"
    scripted.on("glm", ErrorInStream(after_pieces=1))
    broken = events((await client.post(path, json=body(path), headers=headers)).text)
    assert "[DONE]" not in broken


@pytest.mark.parametrize("path", [*SSE_PATHS, *OLLAMA_PATHS])
@pytest.mark.requirement("A5")
async def test_an_error_before_the_first_word_keeps_its_status(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    for behaviour, status in ((Status(429), 429), (Status(500), 502), (ErrorInStream(after_pieces=0), 502)):
        scripted.on("glm", behaviour)
        response = await client.post(path, json=body(path))
        assert response.status_code == status
        assert response.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", [*SSE_PATHS, *OLLAMA_PATHS])
@pytest.mark.requirement("A5")
async def test_an_error_after_the_first_word_is_the_last_event(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", ErrorInStream(after_pieces=1, message="the upstream's own words"))
    response = await client.post(path, json=body(path))
    assert response.status_code == 200
    last = json.loads(events(response.text)[-1] if path in SSE_PATHS else response.text.split("\n")[-2])
    if path == "/v1/responses":
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"] == "upstream_error"
    elif path in SSE_PATHS:
        assert last["error"]["code"] == "upstream_error"
    else:
        assert isinstance(last["error"], str)
        assert "done" not in last


@pytest.mark.parametrize("path", SSE_PATHS)
@pytest.mark.requirement("W8")
async def test_heartbeats_fill_the_silence(client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate))
    async with client.stream("POST", path, json=body(path)) as response:
        received = ""
        async for text in response.aiter_text():
            received += text
            if received.count(": keep-alive\n\n") == 2:
                gate.open()
    assert received.startswith(": keep-alive\n\n")
    assert "three" in received


@pytest.mark.requirement("W8")
async def test_an_error_after_a_heartbeat_is_in_the_stream(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Status(500, delay=0.2))
    response = await client.post(CHAT, json=body(CHAT))
    assert response.status_code == 200
    assert json.loads(events(response.text)[-1])["error"]["code"] == "upstream_status"


@pytest.mark.parametrize("path", [*SSE_PATHS, *OLLAMA_PATHS])
@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("by_header", [True, False])
@pytest.mark.requirement("W9")
async def test_the_trace_is_in_the_body_or_the_final_event(
    client: httpx.AsyncClient, path: str, model: str, stream: bool, by_header: bool
) -> None:
    asked = body(path, model=model, stream=stream)
    if by_header:
        response = await client.post(path, json=asked, headers={"x-chorus-include-workflow": "true"})
    else:
        response = await client.post(path, json={**asked, "include_workflow": True})
    if not stream:
        carriers = [response.json()]
    elif path in SSE_PATHS:
        carriers = [json.loads(event) for event in events(response.text) if event != "[DONE]"]
    else:
        carriers = [json.loads(line) for line in response.text.split("\n")[:-1]]
    trace = carriers[-1]["workflow"]
    assert all("workflow" not in carrier for carrier in carriers[:-1])
    assert trace["status"] == "ok"
    assert trace["workflow"] == model
    later = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
    assert later.json() == trace


async def test_without_being_asked_there_is_no_trace(client: httpx.AsyncClient) -> None:
    assert "workflow" not in (await client.post(CHAT, json=body(CHAT, stream=False))).json()


@pytest.mark.requirement("A1")
async def test_a_first_word_is_not_held_back_by_the_rest(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Hang("body", pieces=1, text="one two"))
    for path in (CHAT, "/api/chat"):
        async with client.stream("POST", path, json=body(path)) as response:
            async for text in response.aiter_text():
                if "one" in text:
                    break
            assert response.status_code == 200
