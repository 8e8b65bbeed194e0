"""The `openai` library: chat, completions, responses, models.

Streamed and not; errors by class (A2, A3, A4, A5).
"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.conftest import ANSWER
from tests.kit import Cut, Say, ScriptedUpstream, ServerProcess, Status

ASKING: list[Any] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How?"}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "北京"}'}


@pytest.mark.requirement("A2")
def test_chat(client: OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ASKING)
    completion = raw.parse()
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == model
    assert completion.id.startswith("chatcmpl-")
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    assert raw.headers["x-request-id"] == completion._request_id


@pytest.mark.requirement("A2")
def test_chat_streamed(client: OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=ASKING, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.requirement("W9")
@pytest.mark.parametrize("stream", [True, False])
def test_the_trace_rides_where_the_client_ignores_or_finds_it(client: OpenAI, model: str, stream: bool) -> None:
    reply: Any = client.chat.completions.create(
        model=model, messages=ASKING, stream=stream, extra_body={"include_workflow": True}
    )
    last = list(reply)[-1] if stream else reply
    assert last.workflow["status"] == "ok"
    assert len(last.workflow["workers"]) == (2 if model == "chorus" else 1)


@pytest.mark.requirement("A2")
def test_several_choices(client: OpenAI, model: str) -> None:
    completion = client.chat.completions.create(model=model, messages=ASKING, n=3)
    assert [(choice.index, choice.message.content) for choice in completion.choices] == [(i, ANSWER) for i in range(3)]
    chunks = list(client.chat.completions.create(model=model, messages=ASKING, n=2, stream=True))
    for index in (0, 1):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == ANSWER
        assert [choice.finish_reason for choice in mine if choice.finish_reason] == ["stop"]


@pytest.mark.requirement("A2")
@pytest.mark.parametrize("model", ["glm", "chorus", "local"])
def test_a_tool_round_trip(client: OpenAI, scripted: ScriptedUpstream, model: str) -> None:
    for name in ("glm", "kimi", "local"):
        scripted.on(name, Say("", tool_calls=[CALL]), Say("It rains."))
    for stream in (True, False):
        scripted.on(model if model != "chorus" else "kimi", Say("", tool_calls=[CALL]))
        scripted.on("glm", Say("", tool_calls=[CALL]))
        if stream:
            with client.chat.completions.stream(model=model, messages=ASKING, tools=TOOLS) as streamed:
                message = streamed.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=model, messages=ASKING, tools=TOOLS).choices[0].message
        assert message.tool_calls is not None
        [call] = message.tool_calls
        assert call.type == "function"
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments) == {"city": "北京"}
    scripted.on("glm", Say("It rains.")).on("kimi", Say("It rains.")).on("local", Say("It rains."))
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    again = client.chat.completions.create(model=model, messages=[*ASKING, message.model_dump(), result], tools=TOOLS)
    assert again.choices[0].message.content == "It rains."


@pytest.mark.requirement("A2")
def test_reasoning_is_apart_from_the_answer(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("4", reasoning="2 and 2"))
    message: Any = client.chat.completions.create(model="glm", messages=ASKING).choices[0].message
    assert (message.content, message.reasoning_content) == ("4", "2 and 2")


@pytest.mark.requirement("A2")
def test_completions(client: OpenAI, model: str) -> None:
    completion = client.completions.create(model=model, prompt=["One?", "Two?"], n=2, echo=True)
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in completion.choices] == [f"{p}?{ANSWER}" for p in ("One", "One", "Two", "Two")]
    chunks = list(client.completions.create(model=model, prompt="How?", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.requirement("A3")
def test_responses(client: OpenAI, model: str) -> None:
    response = client.responses.create(model=model, input="How?", instructions="Be kind.")
    assert response.output_text == ANSWER
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.total_tokens > 0


@pytest.mark.requirement("A3")
def test_responses_streamed(client: OpenAI, model: str) -> None:
    events = list(client.responses.create(model=model, input="How?", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    with client.responses.stream(model=model, input="How?") as stream:
        final = stream.get_final_response()
    assert final.output_text == ANSWER


@pytest.mark.requirement("A3")
def test_responses_with_a_function_call_and_reasoning(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("", reasoning="I should look", tool_calls=[CALL]))
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
    with client.responses.stream(model="glm", input="Rain?", tools=tools) as stream:
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    call: Any = final.output[1]
    assert json.loads(call.arguments) == {"city": "北京"}
    scripted.on("glm", Say("It rains."))
    history: list[Any] = [
        {"role": "user", "content": "Rain?"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    assert client.responses.create(model="glm", input=history, tools=tools).output_text == "It rains."
    sent = scripted.calls("glm")[-1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]


@pytest.mark.requirement("A4")
def test_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["chorus", "chorus/pick", "glm", "kimi", "judge", "local"]
    assert client.models.retrieve("chorus/pick").id == "chorus/pick"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("chorus/pock")


@pytest.mark.requirement("A5")
def test_errors_by_class(client: OpenAI, scripted: ScriptedUpstream) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gml", messages=ASKING)
    assert unknown.value.code == "model_not_found"
    assert "glm" in unknown.value.message
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="glm", messages=ASKING, temperature="hot")  # type: ignore[arg-type, call-overload]
    assert wrong.value.param == "temperature"
    scripted.on("glm", Status(429, headers={"Retry-After": "3"}))
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="glm", messages=ASKING)
    assert limited.value.response.headers["retry-after"] == "3"
    scripted.on("glm", Status(401)).on("kimi", Status(500))
    for model in ("glm", "chorus"):
        with pytest.raises(openai.InternalServerError) as dead:
            client.chat.completions.create(model=model, messages=ASKING, stream=True)
        assert dead.value.status_code == 502


@pytest.mark.requirement("A5")
def test_a_dead_ensemble_is_not_tried_again_by_the_client(server: ServerProcess, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Status(500)).on("kimi", Status(500))
    with (
        OpenAI(base_url=server.api_base, api_key="x", max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="chorus", messages=ASKING)
    assert len(scripted.calls("kimi")) == 1


@pytest.mark.requirement("A5")
def test_a_stream_that_breaks_raises(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Cut(after_pieces=2))
    with pytest.raises(openai.APIError) as broken:
        list(client.chat.completions.create(model="glm", messages=ASKING, stream=True))
    assert broken.value.code == "upstream_protocol"
    events = list(client.responses.create(model="glm", input="How?", stream=True))
    assert events[-1].type == "response.failed"


@pytest.mark.requirement("A6")
def test_unknown_fields_reach_a_pass_through_upstream_and_only_it(client: OpenAI, scripted: ScriptedUpstream) -> None:
    for model in ("glm", "chorus"):
        client.chat.completions.create(model=model, messages=ASKING, extra_body={"top_k": 5})
    bodies = [request.json for request in scripted.calls("glm")]
    assert bodies[0]["top_k"] == 5
    assert all("top_k" not in body for body in bodies[1:])


@pytest.mark.requirement("A2")
def test_image_parts_arrive(client: OpenAI, scripted: ScriptedUpstream, model: str) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    ]
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])  # type: ignore[misc, list-item]
    sent = scripted.calls("local" if model == "local" else "glm")[0].messages[0]
    assert sent["images"] == ["iVBORw0KGgo="] if model == "local" else sent["content"] == content
