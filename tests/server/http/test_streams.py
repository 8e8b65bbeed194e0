"""Streams: framing, the held status line, heartbeats, the trace's place (A1, A5, W8, W9)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit import ErrorInStream, Gate, Hang, Raw, Say, ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.server.running import running

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
    kept = later.json()
    assert [answer["text"] for answer in kept.pop("answers")] == ["one two three"]
    assert kept == trace


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


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of an upstream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


def call(index: int, arguments: str, **begins: str) -> bytes:
    """A piece of a tool call; `id` and `name` where it begins."""
    function = {"arguments": arguments} | ({"name": begins["name"]} if begins else {})
    piece: dict[str, Any] = {"index": index, "function": function} | ({"id": begins["id"]} if begins else {})
    return chunk({"tool_calls": [piece]})


IN_TURN = Raw(
    [
        call(0, "", id="a", name="f"),
        call(1, "", id="b", name="g"),
        call(0, '{"x":'),
        call(1, '{"y":2}'),
        call(0, "1}"),
        chunk({}, "tool_calls") + b"data: [DONE]\n\n",
    ]
)
TWO_CALLS = [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]


@pytest.mark.requirement("A3")
async def test_calls_written_in_turns_are_two_items_of_a_response(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", IN_TURN)
    sent = [
        json.loads(event) for event in events((await client.post("/v1/responses", json=body("/v1/responses"))).text)
    ]
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    output = sent[-1]["response"]["output"]
    assert [(item["call_id"], item["name"], json.loads(item["arguments"])) for item in output] == TWO_CALLS
    for place, item in enumerate(output):
        mine = [event for event in sent if event.get("output_index") == place]
        assert mine[0]["type"] == "response.output_item.added"
        assert (mine[-1]["type"], mine[-1]["item"]) == ("response.output_item.done", item)
        assert "".join(event.get("delta", "") for event in mine) == item["arguments"]


@pytest.mark.requirement("A4")
async def test_calls_written_in_turns_are_two_blocks_of_a_message(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", IN_TURN)
    asked = {**body("/api/chat"), "max_tokens": 9}
    sent = [json.loads(event) for event in events((await client.post("/v1/messages", json=asked)).text)]
    begun = [event["content_block"] for event in sent if event["type"] == "content_block_start"]
    calls = []
    for index, block in enumerate(begun):
        pieces = [event["delta"] for event in sent if event.get("index") == index and "delta" in event]
        calls.append((block["id"], block["name"], json.loads("".join(piece["partial_json"] for piece in pieces))))
    assert calls == TWO_CALLS
    assert [event["index"] for event in sent if event["type"] == "content_block_stop"] == [0, 1]


@pytest.mark.requirement("A2")
async def test_calls_written_in_turns_are_two_calls_elsewhere(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", IN_TURN)
    lines = (await client.post("/api/chat", json=body("/api/chat"))).text.split("\n")[:-1]
    [said] = [json.loads(line)["message"] for line in lines if "tool_calls" in line]
    functions = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in said["tool_calls"]]
    assert functions == TWO_CALLS
    chunks = [json.loads(event) for event in events((await client.post(CHAT, json=body(CHAT))).text)[:-1]]
    pieces = [piece for each in chunks for piece in each["choices"][0]["delta"].get("tool_calls", ())]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["a", "b"]
    assert "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 0) == '{"x":1}'


@pytest.mark.requirement("A3")
async def test_a_response_is_told_in_the_order_of_its_parts(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    tool = {"id": "c", "name": "f", "arguments": "{}"}
    scripted.on("glm", Say("好🙂 yes", reasoning="hm so", tool_calls=[tool]))
    text = (await client.post("/v1/responses", json=body("/v1/responses"))).text
    names = [line[7:] for line in text.split("\n") if line.startswith("event: ")]
    sent = [json.loads(event) for event in events(text)]
    assert names == [event["type"] for event in sent]
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    assert list(dict.fromkeys(event["item"]["type"] for event in sent if "item" in event)) == [
        "reasoning",
        "message",
        "function_call",
    ]
    for place, item in enumerate(sent[-1]["response"]["output"]):
        mine = [event for event in sent if event.get("output_index") == place]
        assert {event["item_id"] for event in mine if "item_id" in event} == {item["id"]}
        assert mine[-1]["item"] == item
    kept = await client.get(f"/v1/responses/{sent[-1]['response']['id']}")
    assert kept.json()["output"] == sent[-1]["response"]["output"]


@pytest.mark.requirement("A3")
async def test_a_response_that_was_cut_short_is_incomplete(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Say("one two", finish="length"))
    whole = (await client.post("/v1/responses", json=body("/v1/responses", stream=False))).json()
    text = (await client.post("/v1/responses", json=body("/v1/responses"))).text
    last = json.loads(events(text)[-1])
    assert last["type"] == "response.incomplete"
    for response in (whole, last["response"]):
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert response["output"][0]["status"] == "incomplete"
    again = await client.post("/api/chat", json=body("/api/chat", stream=False))
    assert again.json()["done_reason"] == "length"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.requirement("A2")
async def test_usage_comes_last_when_it_is_asked_for(client: httpx.AsyncClient, path: str, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": wanted}}
    sent = [json.loads(event) for event in events((await client.post(path, json=body(path, **options))).text)[:-1]]
    if wanted:
        assert sent[-1]["choices"] == []
        assert sent[-1]["usage"]["total_tokens"] > 0
        assert all(each["usage"] is None for each in sent[:-1])
    else:
        assert all("usage" not in each for each in sent)
        assert all(len(each["choices"]) == 1 for each in sent)
    assert sum(1 for each in sent for choice in each["choices"] if choice["finish_reason"]) == 1


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.requirement("A2")
async def test_choices_stream_apart_and_each_ends_once(client: httpx.AsyncClient, path: str, model: str) -> None:
    more: dict[str, Any] = {"n": 2, "model": model} | ({"prompt": ["One?", "Two?"]} if path != CHAT else {})
    sent = [json.loads(event) for event in events((await client.post(path, json=body(path, **more))).text)[:-1]]
    choices = [choice for each in sent for choice in each["choices"]]
    count = 2 if path == CHAT else 4
    assert {choice["index"] for choice in choices} == set(range(count))
    for index in range(count):
        mine = [choice for choice in choices if choice["index"] == index]
        text = "".join(choice["text"] if path != CHAT else choice["delta"].get("content", "") for choice in mine)
        assert text.startswith("one two ")
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]
        assert mine[-1]["finish_reason"]
    assert len({(each["id"], each["created"], each["model"]) for each in sent}) == 1


@pytest.mark.parametrize("path", OLLAMA_PATHS)
@pytest.mark.requirement("A1")
async def test_a_line_stays_a_line_whatever_is_said(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    said = "a\u2028b\u2029c\x85d\x0be\x1cf\r\ng\x00 好🙂"
    scripted.on("glm", Say(said))
    text = (await client.post(path, json=body(path))).text
    lines = [json.loads(line) for line in text.splitlines()]  # as ollama's Python client splits
    key = "response" if path == "/api/generate" else "message"
    received = [line[key] if key == "response" else line[key]["content"] for line in lines]
    assert "".join(received) == said


@pytest.mark.parametrize("path", [*SSE_PATHS, *OLLAMA_PATHS])
@pytest.mark.requirement("W8")
async def test_each_piece_goes_on_before_the_next_is_written(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=2))
    opened = False
    async with client.stream("POST", path, json=body(path)) as response:
        received = ""
        async for text in response.aiter_text():
            received += text
            if " two" in text and not opened:
                opened = True
                assert "three" not in received
                gate.open()
    assert opened
    assert "three" in received


@pytest.mark.parametrize("path", OLLAMA_PATHS)
@pytest.mark.requirement("A1")
async def test_a_configuration_can_ask_for_sse(
    upstream: ScriptedUpstream, scripted: ScriptedUpstream, path: str
) -> None:
    text = f'[server]\nollama_stream = "sse"\n[[model]]\nname = "glm"\napi_base = "{upstream.api_base}"\n'
    with running(text) as server:
        async with connected(server.base) as client:
            response = await client.post(path, json=body(path))
            assert response.headers["content-type"].startswith("text/event-stream")
            assert events(response.text)[-1] == "[DONE]"
            refused = await client.post(path, json=body(path, model="none"))
            assert refused.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", OLLAMA_PATHS)
@pytest.mark.requirement("A5")
async def test_in_sse_an_error_in_the_stream_is_an_object_too(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", ErrorInStream(after_pieces=1))
    response = await client.post(path, json=body(path), headers={"accept": "text/event-stream"})
    assert json.loads(events(response.text)[-1])["error"]["code"] == "upstream_error"


@pytest.mark.requirement("L2")
async def test_calls_that_all_have_index_0_are_several(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    end = chunk({}, "tool_calls") + b"data: [DONE]\n\n"
    scripted.on("glm", Raw([call(0, '{"x":1}', id="a", name="f"), call(0, '{"y":2}', id="b", name="g"), end]))
    message = (await client.post("/api/chat", json=body("/api/chat"))).text.split("\n")[0]
    calls = json.loads(message)["message"]["tool_calls"]
    assert [(each["function"]["name"], each["function"]["arguments"]) for each in calls] == [
        ("f", {"x": 1}),
        ("g", {"y": 2}),
    ]
