"""What providers send that OpenAI does not, in every dialect (A2 to A5, L2)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit import Raw, ScriptedUpstream, Status

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "How?"}]},
    "/v1/responses": {"input": "How?", "store": False},
    "/v1/messages": {"messages": [{"role": "user", "content": "How?"}], "max_tokens": 99},
    "/api/chat": {"messages": [{"role": "user", "content": "How?"}]},
}
SIGNATURE = {"google": {"thought_signature": "abc"}}
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def answering(scripted: ScriptedUpstream, message: dict[str, Any], *, stream: bool, finish: str = "tool_calls") -> None:
    """Let "glm" answer with one message."""
    if not stream:
        body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        scripted.on("glm", Raw([json.dumps(body).encode()], content_type="application/json"))
        return
    calls = [{"index": place, **call} for place, call in enumerate(message.get("tool_calls", ()))]
    deltas = [{**message, "tool_calls": [call]} for call in calls] or [message]
    choices = [{"index": 0, "delta": each} for each in deltas] + [{"index": 0, "delta": {}, "finish_reason": finish}]
    events = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices]
    scripted.on("glm", Raw([*events, b"data: [DONE]\n\n"]))


def sent(response: httpx.Response, path: str, *, stream: bool) -> list[dict[str, Any]]:
    assert response.status_code == 200
    if not stream:
        return [response.json()]
    lines = response.text.split("\n")
    if path != "/api/chat":
        lines = [line[6:] for line in lines if line.startswith("data: {")]
    return [json.loads(line) for line in lines if line]


def arguments(path: str, bodies: list[dict[str, Any]], *, stream: bool) -> dict[str, Any]:
    """The arguments of each call by the name of its tool, as a client of the dialect reads them."""
    if path == "/api/chat":
        calls = [call["function"] for body in bodies for call in body["message"].get("tool_calls", ())]
        return {call["name"]: call["arguments"] for call in calls}
    if path == "/v1/responses":
        output = (bodies[-1]["response"] if stream else bodies[0])["output"]
        return {item["name"]: json.loads(item["arguments"]) for item in output if item["type"] == "function_call"}
    if path == "/v1/messages":
        if not stream:
            return {block["name"]: block["input"] for block in bodies[0]["content"] if block["type"] == "tool_use"}
        starts = {body["index"]: body["content_block"] for body in bodies if body["type"] == "content_block_start"}
        texts = {place: "" for place, block in starts.items() if block["type"] == "tool_use"}
        for body in bodies:
            if body["type"] == "content_block_delta" and body["delta"]["type"] == "input_json_delta":
                texts[body["index"]] += body["delta"]["partial_json"]
        return {starts[place]["name"]: json.loads(text or "{}") for place, text in texts.items()}
    if not stream:
        calls = [call["function"] for call in bodies[0]["choices"][0]["message"]["tool_calls"]]
        return {call["name"]: json.loads(call["arguments"]) for call in calls}
    joined: dict[int, list[str]] = {}
    for body in bodies:
        for call in body["choices"][0]["delta"].get("tool_calls", ()) if body["choices"] else ():
            parts = joined.setdefault(call["index"], ["", ""])
            parts[0] += call["function"].get("name", "")
            parts[1] += call["function"]["arguments"]
    return {name: json.loads(text) for name, text in joined.values()}


@both_ways
@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("nothing", ["", None, "null", {}])
async def test_a_call_without_arguments_has_an_empty_object(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool, nothing: object
) -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": nothing}} for name in ("now", "today")]
    calls.insert(1, {"id": "c", "function": {"name": "add", "arguments": '{"a":1}'}})
    answering(scripted, {"content": None, "tool_calls": calls}, stream=stream)
    response = await client.post(path, json={"model": "glm", "stream": stream, **ASKED[path]})
    calls_by_name = arguments(path, sent(response, path, stream=stream), stream=stream)
    assert calls_by_name == {"now": {}, "add": {"a": 1}, "today": {}}


@both_ways
async def test_unknown_fields_go_on_in_the_chat_dialect(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, stream: bool
) -> None:
    call = {"id": "c", "function": {"name": "now", "arguments": "{}"}, "extra_content": SIGNATURE}
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    answering(scripted, {"content": None, "reasoning_details": details, "tool_calls": [call]}, stream=stream)
    path = "/v1/chat/completions"
    response = await client.post(path, json={"model": "glm", "stream": stream, **ASKED[path]})
    kind = "delta" if stream else "message"
    messages = [body["choices"][0][kind] for body in sent(response, path, stream=stream)]
    assert [each["reasoning_details"] for each in messages if "reasoning_details" in each] == [details]
    calls = [call for each in messages for call in each.get("tool_calls", ())]
    assert [each["extra_content"] for each in calls if "extra_content" in each] == [SIGNATURE]


@both_ways
@pytest.mark.parametrize("path", ASKED)
async def test_a_filtered_answer_without_words_is_an_error(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool
) -> None:
    answering(scripted, {"content": ""}, stream=stream, finish="content_filter")
    response = await client.post(path, json={"model": "glm", "stream": stream, **ASKED[path]})
    assert response.status_code == 400
    assert "content filter" in response.text


async def test_a_worker_that_says_nothing_does_not_win(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("kimi", Raw([b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n']))
    path = "/v1/chat/completions"
    body = {"model": "chorus", "include_workflow": True, **ASKED[path]}
    response = await client.post(path, json=body)
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "one two three"


@pytest.mark.parametrize("path", ASKED)
async def test_what_an_upstream_says_of_its_refusal_reaches_the_client(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    detail = {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "field required"}]}
    scripted.on("glm", Status(422, body=json.dumps(detail)))
    response = await client.post(path, json={"model": "glm", **ASKED[path]})
    assert "body.x: field required" in response.text
