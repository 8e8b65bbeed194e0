"""The `ollama` library: generate, chat, list, show, ps; streamed and not (A1, A4, A5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from chorus.server.dialects.ollama.context import LIMIT
from tests.clients.conftest import ANSWER
from tests.kit import Cut, Say, ScriptedUpstream, ServerProcess

ASKING = [{"role": "user", "content": "How?"}]
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "北京"}'}


@pytest.fixture
def client(server: ServerProcess, scripted: ScriptedUpstream) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.base) as client:
        yield client


@pytest.mark.requirement("A1")
def test_chat(client: ollama.Client, model: str) -> None:
    reply = client.chat(model=model, messages=ASKING)
    assert reply.message.content == ANSWER
    assert reply.done
    assert reply.done_reason == "stop"
    assert reply.model == model
    counts = (reply.total_duration, reply.load_duration, reply.prompt_eval_count, reply.eval_count, reply.eval_duration)
    assert all(isinstance(count, int) and count > 0 for count in counts)


@pytest.mark.requirement("A1")
def test_chat_streamed(client: ollama.Client, model: str) -> None:
    parts = list(client.chat(model=model, messages=ASKING, stream=True))
    assert "".join(part.message.content or "" for part in parts) == ANSWER
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 3
    assert {part.message.role for part in parts} == {"assistant"}


@pytest.mark.requirement("A1")
def test_generate(client: ollama.Client, model: str) -> None:
    assert client.generate(model=model, prompt="How?", system="Be kind.").response == ANSWER
    parts = list(client.generate(model=model, prompt="How?", stream=True))
    assert "".join(part.response for part in parts) == ANSWER
    assert parts[-1].done_reason == "stop"
    assert all(part.context is None for part in parts[:-1])


@pytest.mark.requirement("A1")
def test_generate_goes_on_from_a_context(client: ollama.Client, scripted: ScriptedUpstream, model: str) -> None:
    first = client.generate(model=model, prompt="How? 好🙂", system="Be kind.", images=["iVBORw0KGgo="])
    *_, second = client.generate(model=model, prompt="And?", context=first.context, stream=True)
    third = client.generate(model=model, prompt="So?", system="Be brief.", context=second.context)
    assert third.response == ANSWER
    worker = "glm" if model == "chorus" else model
    asked = [call.messages for call in scripted.calls(worker) if not call.last_user_text.startswith("[Chorus")]
    said = [{"role": "user", "content": "How? 好🙂"}, {"role": "assistant", "content": ANSWER}]
    assert asked[1] == [{"role": "system", "content": "Be kind."}, *said, {"role": "user", "content": "And?"}]
    said += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": ANSWER}]
    assert asked[2] == [{"role": "system", "content": "Be brief."}, *said, {"role": "user", "content": "So?"}]


@pytest.mark.requirement("A1")
def test_a_context_is_bounded_and_forgets_the_oldest(client: ollama.Client, scripted: ScriptedUpstream) -> None:
    context = client.generate(model="glm", prompt="the oldest " * 200).context
    for prompt in ("a" * 20_000, "b" * 11_000, "the newest"):
        context = client.generate(model="glm", prompt=prompt, context=context).context
        assert context is not None
        assert len(context) <= LIMIT + 1
    client.generate(model="glm", prompt="?", context=context)
    turns = [turn["content"][:10] for turn in scripted.calls("glm")[-1].messages if turn["role"] == "user"]
    assert turns == ["a" * 10, "b" * 10, "the newest", "?"]
    assert client.generate(model="glm", prompt="c" * LIMIT, context=context).context == []
    assert client.generate(model="glm", prompt="?", context=[]).response == ANSWER


@pytest.mark.parametrize("damage", ["cut", "swapped", "foreign", "large", "negative", "unchecked"])
@pytest.mark.requirement("A1")
def test_a_context_that_is_not_ours_is_left_out(client: ollama.Client, scripted: ScriptedUpstream, damage: str) -> None:
    ours = list(client.generate(model="glm", prompt="How?").context or ())
    context = {
        "cut": ours[:-1],
        "swapped": [*ours[:-4], *reversed(ours[-4:])],
        "foreign": [128006, 882, 128007],
        "large": [*ours, 10**30],
        "negative": [*ours, -1],
        "unchecked": [0, *b'["","How?","So."]'],
    }[damage]
    assert client.generate(model="glm", prompt="And?", context=context).response == ANSWER
    assert [turn["content"] for turn in scripted.calls("glm")[-1].messages] == ["And?"]


@pytest.mark.requirement("A1")
def test_a_raw_prompt_has_no_context(client: ollama.Client) -> None:
    ours = client.generate(model="local", prompt="How?").context
    assert client.generate(model="local", prompt="How?", raw=True).context == []
    with pytest.raises(ollama.ResponseError, match="'context'"):
        client.generate(model="local", prompt="How?", raw=True, context=ours)


@pytest.mark.requirement("A1")
def test_an_empty_prompt_only_loads(client: ollama.Client, scripted: ScriptedUpstream, model: str) -> None:
    assert client.generate(model=model).done_reason == "load"
    assert client.chat(model=model).done_reason == "load"
    assert scripted.requests == []


@pytest.mark.requirement("A1")
def test_a_tool_round_trip_without_call_ids(client: ollama.Client, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("", tool_calls=[CALL]))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    for stream in (False, True):
        reply: Any = client.chat(model="glm", messages=ASKING, tools=[tool], stream=stream)
        answer = next(part for part in reply if part.message.tool_calls) if stream else reply
        [call] = answer.message.tool_calls
        assert (call.function.name, call.function.arguments) == ("weather", {"city": "北京"})
    scripted.on("glm", Say("It rains."))
    history = [
        *ASKING,
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
    ]
    assert client.chat(model="glm", messages=history, tools=[tool]).message.content == "It rains."
    sent = scripted.calls("glm")[-1].messages
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]


@pytest.mark.requirement("A1")
def test_options_format_thinking_and_images_arrive(client: ollama.Client, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say('{"a": 1}', reasoning="let me see"))
    reply = client.chat(
        model="glm",
        messages=[{"role": "user", "content": "What?", "images": ["iVBORw0KGgo="]}],
        options={"temperature": 0.1, "num_predict": 9, "num_ctx": 99, "stop": ["x"]},
        format={"type": "object"},
        think=True,
    )
    assert reply.message.thinking == "let me see"
    body = scripted.calls("glm")[0].json
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.1, 9, ["x"])
    assert "num_ctx" not in body
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.requirement("W9")
def test_the_trace_is_on_the_last_line(server: ServerProcess, client: ollama.Client) -> None:
    reply = client._client.post("/api/chat", json={"model": "chorus", "messages": ASKING, "include_workflow": True})
    lines = reply.text.splitlines()
    assert '"workflow":{"workflow_id"' in lines[-1]
    assert all('"workflow"' not in line for line in lines[:-1])


@pytest.mark.requirement("A4")
def test_lists_of_models(client: ollama.Client) -> None:
    names = [entry.model for entry in client.list().models]
    assert names == ["chorus:latest", "chorus/pick:latest", "glm:latest", "kimi:latest", "judge:latest", "local:latest"]
    assert client.chat(model="chorus:latest", messages=ASKING).message.content == ANSWER
    shown = client.show("local")
    assert shown.modelinfo is not None
    assert shown.modelinfo["chorus.context_length"] == 8192
    assert "completion" in (client.show("chorus").capabilities or [])
    assert len(client.ps().models) == len(names)


@pytest.mark.requirement("A5")
def test_errors_are_strings(client: ollama.Client, scripted: ScriptedUpstream) -> None:
    with pytest.raises(ollama.ResponseError) as unknown:
        client.chat(model="gml", messages=ASKING)
    assert unknown.value.status_code == 404
    assert unknown.value.error.startswith("model 'gml' not found")
    scripted.on("glm", Cut(after_pieces=2))
    with pytest.raises(ollama.ResponseError, match="broke off"):
        list(client.chat(model="glm", messages=ASKING, stream=True))
    with pytest.raises(ollama.ResponseError) as refused:
        client.pull("glm")
    assert refused.value.status_code == 501


@pytest.mark.requirement("A1")
def test_generate_takes_a_format_and_images(client: ollama.Client, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say('{"a": 1}'))
    reply = client.generate(model="glm", prompt="What?", images=["iVBORw0KGgo="], format={"type": "object"})
    assert reply.response == '{"a": 1}'
    body = scripted.calls("glm")[0].json
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
