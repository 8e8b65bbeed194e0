"""The `anthropic` library: messages, streamed and not, tools, thinking, errors, count_tokens
(A4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from pydantic import BaseModel

from tests.clients.capable import capable
from tests.clients.conftest import ANSWER
from tests.kit import Cut, Say, ScriptedUpstream, ServerProcess, Status

ASKING: list[Any] = [{"role": "user", "content": "How?"}]
TOOLS: list[Any] = [{"name": "weather", "description": "The weather", "input_schema": {"type": "object"}}]
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "北京"}'}


@pytest.fixture
def client(server: ServerProcess, scripted: ScriptedUpstream) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.base, api_key="whatever", max_retries=0) as client:
        yield client


@pytest.mark.requirement("A4")
def test_messages(client: Anthropic, model: str) -> None:
    message = client.messages.create(model=model, max_tokens=100, system="Be kind.", messages=ASKING)
    assert [block.text for block in message.content if block.type == "text"] == [ANSWER]
    assert message.stop_reason == "end_turn"
    assert message.model == model
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id


@pytest.mark.requirement("A4")
def test_messages_streamed(client: Anthropic, model: str) -> None:
    with client.messages.stream(model=model, max_tokens=100, messages=ASKING) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == ANSWER
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0
    [start, *_] = client.messages.create(model=model, max_tokens=9, messages=ASKING, stream=True)
    assert start.type == "message_start"
    counted = client.messages.count_tokens(model=model, messages=ASKING).input_tokens
    assert start.message.usage.input_tokens == counted > 0
    kinds = [event.type for event in client.messages.create(model=model, max_tokens=9, messages=ASKING, stream=True)]
    assert list(dict.fromkeys(kinds)) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.requirement("A4")
def test_a_tool_round_trip_with_thinking(client: Anthropic, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("", reasoning="I should look", tool_calls=[CALL]))
    with client.messages.stream(model="glm", max_tokens=100, messages=ASKING, tools=TOOLS) as stream:
        streamed = stream.get_final_message()
    whole = client.messages.create(model="glm", max_tokens=100, messages=ASKING, tools=TOOLS)
    for message in (streamed, whole):
        assert message.stop_reason == "tool_use"
        thinking, call = message.content
        assert thinking.type == "thinking"
        assert thinking.thinking == "I should look"
        assert call.type == "tool_use"
        assert (call.name, call.input) == ("weather", {"city": "北京"})
    scripted.on("glm", Say("It rains."))
    result: list[Any] = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "rain"}]}
    ]
    history: list[Any] = [*ASKING, {"role": "assistant", "content": whole.content}, {"role": "user", "content": result}]
    again = client.messages.create(model="glm", max_tokens=100, messages=history, tools=TOOLS)
    assert again.content[0].type == "text"
    sent = scripted.calls("glm")[-1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_1"


class Number(BaseModel):
    """A number."""

    n: int


@pytest.mark.requirement("A4")
@pytest.mark.requirement("W10")
def test_structured_output(client: Anthropic, scripted: ScriptedUpstream, model: str) -> None:
    for name in ("glm", "kimi", "local"):
        scripted.on(name, capable)
    parsed = client.messages.parse(model=model, max_tokens=9, messages=ASKING, output_format=Number).parsed_output
    assert parsed == Number(n=7)
    with client.messages.stream(model=model, max_tokens=9, messages=ASKING, output_format=Number) as stream:
        assert stream.get_final_message().parsed_output == Number(n=7)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    old: Any = {"output_format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(model=model, max_tokens=9, messages=ASKING, extra_body=old)
    assert [block.text for block in message.content if block.type == "text"] == ['{"n": 7}']
    if model == "glm":
        asked = scripted.calls("glm")[-1].json["response_format"]
        assert asked == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


@pytest.mark.parametrize("form", [{"type": "xml", "schema": {}}, {"type": "json_schema"}, {"schema": {}}, 7])
@pytest.mark.requirement("A4")
def test_an_output_format_that_is_none_is_named(client: Anthropic, form: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"output_config\.format"):
        client.messages.create(model="glm", max_tokens=9, messages=ASKING, output_config={"format": form})


@pytest.mark.requirement("A4")
def test_an_image_and_settings_arrive(client: Anthropic, scripted: ScriptedUpstream) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    content: list[Any] = [{"type": "text", "text": "What?"}, image]
    client.messages.create(
        model="glm",
        max_tokens=7,
        messages=[{"role": "user", "content": content}],
        stop_sequences=["END"],
        extra_body={"temperature": 0.3},
    )
    body = scripted.calls("glm")[0].json
    assert (body["max_tokens"], body["stop"], body["temperature"]) == (7, ["END"], 0.3)
    assert body["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.requirement("A5")
def test_errors_by_class(client: Anthropic, scripted: ScriptedUpstream) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="gml", max_tokens=9, messages=ASKING)
    assert unknown.value.request_id
    body: Any = unknown.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="glm", max_tokens=9, messages=[{"role": "user", "content": 7}])  # type: ignore[typeddict-item]
    scripted.on("glm", Status(429))
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="glm", max_tokens=9, messages=ASKING)
    scripted.on("glm", Cut(after_pieces=2))
    with (
        pytest.raises(anthropic.APIError) as broken,
        client.messages.stream(model="glm", max_tokens=9, messages=ASKING) as stream,
    ):
        stream.get_final_message()
    assert "broke off" in str(broken.value)


@pytest.mark.requirement("A4")
def test_count_tokens(client: Anthropic) -> None:
    short = client.messages.count_tokens(model="chorus", messages=ASKING).input_tokens
    long = client.messages.count_tokens(model="chorus", messages=[{"role": "user", "content": "How? " * 100}])
    assert 0 < short < long.input_tokens


@pytest.mark.requirement("W9")
def test_the_trace_is_in_the_last_event(client: Anthropic) -> None:
    events: Any = list(
        client.messages.create(
            model="chorus", max_tokens=9, messages=ASKING, stream=True, extra_body={"include_workflow": True}
        )
    )
    assert events[-1].workflow["status"] == "ok"
