"""The asynchronous clients of `openai` and `ollama`, which read streams on paths of their own (A1,
A2, A3, A5).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.clients.conftest import ANSWER
from tests.kit import Cut, Gate, Hang, Raw, Say, ScriptedUpstream, ServerProcess, Status

ASKING: list[Any] = [{"role": "user", "content": "How?"}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "北京"}'}


@pytest.fixture
async def client(server: ServerProcess, scripted: ScriptedUpstream) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.api_base, api_key="whatever", max_retries=0) as client:
        yield client


@pytest.fixture
async def olama(server: ServerProcess, scripted: ScriptedUpstream) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=server.base) as client:
        yield client


@pytest.mark.requirement("A2")
async def test_openai_chat(client: AsyncOpenAI, model: str) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=ASKING)
    completion = raw.parse()
    assert completion.choices[0].message.content == ANSWER
    assert completion._request_id == raw.headers["x-request-id"]
    stream = await client.chat.completions.create(
        model=model, messages=ASKING, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0


@pytest.mark.requirement("A2")
async def test_openai_completions(client: AsyncOpenAI, model: str) -> None:
    completion = await client.completions.create(model=model, prompt=["One?", "Two?"])
    assert [choice.text for choice in completion.choices] == [ANSWER, ANSWER]
    chunks = [chunk async for chunk in await client.completions.create(model=model, prompt="One?", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWER


@pytest.mark.requirement("A3")
async def test_openai_responses(client: AsyncOpenAI, model: str) -> None:
    response = await client.responses.create(model=model, input=ASKING)
    assert response.output_text == ANSWER
    async with client.responses.stream(model=model, input="How?") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text == ANSWER


@pytest.mark.requirement("A2")
async def test_openai_calls_two_tools_at_once(client: AsyncOpenAI, scripted: ScriptedUpstream) -> None:
    second = {"id": "call_2", "name": "time", "arguments": "{}"}
    scripted.on("glm", Say("", tool_calls=[CALL, second]))
    tools = [*TOOLS, {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}]
    async with client.chat.completions.stream(model="glm", messages=ASKING, tools=tools) as stream:
        message = (await stream.get_final_completion()).choices[0].message
    calls: Any = message.tool_calls
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "weather", CALL["arguments"]),
        ("call_2", "time", "{}"),
    ]


@pytest.mark.requirement("A5")
async def test_openai_errors(client: AsyncOpenAI, scripted: ScriptedUpstream) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.responses.create(model="chorus/pock", input="x", stream=True)
    assert unknown.value.code == "model_not_found"
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError) as empty:
        await client.responses.create(model="glm")
    assert empty.value.body["message"] == "invalid request: missing input/messages/prompt/instructions"  # type: ignore[index]
    scripted.on("glm", Status(503))
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="glm", messages=ASKING)
    scripted.on("glm", Cut(after_pieces=2))
    with pytest.raises(openai.APIError, match="broke off"):
        async for _ in await client.chat.completions.create(model="glm", messages=ASKING, stream=True):
            pass
    with pytest.raises(openai.APIError, match="broke off"):
        async for _ in await client.completions.create(model="glm", prompt="x", stream=True):
            pass


@pytest.mark.requirement("W8")
async def test_tokens_arrive_while_the_model_is_still_writing(client: AsyncOpenAI, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=2))
    received = ""
    async with await client.chat.completions.create(model="glm", messages=ASKING, stream=True) as stream:
        async for chunk in stream:
            received += chunk.choices[0].delta.content or ""
            if received == "one two":
                gate.open()  # only now the upstream goes on
    assert received == "one two three"


@pytest.mark.requirement("W13")
async def test_leaving_a_stream_frees_the_upstream(client: AsyncOpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Hang("body", pieces=2))
    stream = await client.responses.create(model="glm", input="x", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await scripted.wait_idle(1.0)
    assert scripted.calls("glm")[0].was_cancelled


@pytest.mark.requirement("A2")
async def test_many_at_once_keep_their_answers_apart(client: AsyncOpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say(lambda request: f"you said {request.last_user_text}"))

    async def ask(number: int) -> str:
        turn: list[Any] = [{"role": "user", "content": f"number {number}"}]
        stream = await client.chat.completions.create(model="glm", messages=turn, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = await asyncio.gather(*(ask(number) for number in range(40)))
    assert answers == [f"you said number {number}" for number in range(40)]


@pytest.mark.requirement("A1")
async def test_ollama(olama: ollama.AsyncClient, model: str) -> None:
    assert (await olama.chat(model=model, messages=ASKING)).message.content == ANSWER
    parts = [part async for part in await olama.chat(model=model, messages=ASKING, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == ANSWER
    assert parts[-1].done_reason == "stop"
    assert (await olama.generate(model=model, prompt="How?")).response == ANSWER
    pieces = [piece async for piece in await olama.generate(model=model, prompt="How?", stream=True)]
    assert "".join(piece.response for piece in pieces) == ANSWER


@pytest.mark.requirement("A4")
async def test_ollama_lists(olama: ollama.AsyncClient) -> None:
    names = [entry.model for entry in (await olama.list()).models]
    assert "chorus:latest" in names
    assert [entry.model for entry in (await olama.ps()).models] == names
    for name in names:
        assert name is not None
        assert "completion" in ((await olama.show(name)).capabilities or [])


@pytest.mark.parametrize("asked", ["glm", "chorus"])
@pytest.mark.requirement("A1")
async def test_ollama_calls_a_tool(olama: ollama.AsyncClient, scripted: ScriptedUpstream, asked: str) -> None:
    scripted.on("glm", Say("", tool_calls=[CALL])).on("kimi", Say("", tool_calls=[CALL]))
    whole = await olama.chat(model=asked, messages=ASKING, tools=TOOLS)
    parts = [part async for part in await olama.chat(model=asked, messages=ASKING, tools=TOOLS, stream=True)]
    streamed = [call for part in parts for call in part.message.tool_calls or ()]
    for [call] in (whole.message.tool_calls, streamed):
        assert (call.function.name, call.function.arguments) == ("weather", {"city": "北京"})
    assert parts[-1].done


async def follow(stream: AsyncIterator[Any], received: list[bool]) -> None:
    """Read `stream`, noting which parts say that they are the last."""
    async for part in stream:
        received.append(bool(part.done))


@pytest.mark.requirement("A5")
async def test_ollama_errors(olama: ollama.AsyncClient, scripted: ScriptedUpstream) -> None:
    with pytest.raises(ollama.ResponseError) as unknown:
        await olama.show("gml")
    assert unknown.value.status_code == 404
    scripted.on("glm", Status(429))
    with pytest.raises(ollama.ResponseError) as limited:
        async for _ in await olama.chat(model="glm", messages=ASKING, stream=True):
            pass
    assert limited.value.status_code == 429
    scripted.on("glm", Cut(after_pieces=2))
    for stream in (
        await olama.chat(model="glm", messages=ASKING, stream=True),
        await olama.generate(model="glm", prompt="x", stream=True),
    ):
        received: list[bool] = []
        with pytest.raises(ollama.ResponseError, match="broke off"):
            await follow(stream, received)
        assert received
        assert not any(received)


IN_TURN = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
    {"index": 1, "id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"city":'}},
    {"index": 1, "function": {"arguments": '{"zone":1}'}},
    {"index": 0, "function": {"arguments": '"北京"}'}},
]


@pytest.fixture
def in_turn(scripted: ScriptedUpstream) -> None:
    """The model calls two tools and writes their arguments in turns, as vLLM and others may."""
    deltas: list[tuple[Any, str | None]] = [({"tool_calls": [piece]}, None) for piece in IN_TURN]
    choices = [{"index": 0, "delta": delta, "finish_reason": finish} for delta, finish in (*deltas, ({}, "tool_calls"))]
    events = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices]
    scripted.on("glm", Raw([*events, b"data: [DONE]\n\n"]))


WHOLE = [("call_1", "weather", {"city": "北京"}), ("call_2", "time", {"zone": 1})]


@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
async def test_openai_reads_calls_that_were_written_in_turns(client: AsyncOpenAI, in_turn: None) -> None:
    async with client.responses.stream(model="glm", input="x") as stream:
        output: Any = (await stream.get_final_response()).output
    assert [(item.call_id, item.name, json.loads(item.arguments)) for item in output] == WHOLE
    async with client.responses.stream(model="glm", input="x") as stream:
        received = [event.item async for event in stream if event.type == "response.output_item.done"]
    done: Any = received
    assert [(item.call_id, item.name, json.loads(item.arguments)) for item in done] == WHOLE
    async with client.chat.completions.stream(model="glm", messages=ASKING) as chat:
        calls: Any = (await chat.get_final_completion()).choices[0].message.tool_calls
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == WHOLE


@pytest.mark.requirement("A4")
async def test_anthropic_reads_calls_that_were_written_in_turns(server: ServerProcess, in_turn: None) -> None:
    async with (
        AsyncAnthropic(base_url=server.base, api_key="x", max_retries=0) as client,
        client.messages.stream(model="glm", max_tokens=9, messages=ASKING) as stream,
    ):
        content: Any = (await stream.get_final_message()).content
    assert [(block.id, block.name, block.input) for block in content] == WHOLE


@pytest.mark.requirement("A1")
async def test_ollama_reads_calls_that_were_written_in_turns(olama: ollama.AsyncClient, in_turn: None) -> None:
    parts = [part async for part in await olama.chat(model="glm", messages=ASKING, stream=True)]
    calls = [call.function for part in parts for call in part.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in calls] == [(name, arguments) for _, name, arguments in WHOLE]
