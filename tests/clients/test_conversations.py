"""OpenAI's Conversations API through the `openai` library, unchanged (M3)."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.conftest import received
from tests.kit import Cut, Say, ScriptedUpstream


@pytest.mark.requirement("M3")
def test_a_conversation_is_made_read_changed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(
        metadata={"topic": "birds"}, items=[{"role": "user", "content": "Hello", "type": "message"}]
    )
    assert (made.object, made.metadata) == ("conversation", {"topic": "birds"})
    assert client.conversations.retrieve(made.id) == made
    assert client.conversations.update(made.id, metadata={"mood": "good"}).metadata == {
        "topic": "birds",
        "mood": "good",
    }
    deleted = client.conversations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(made.id)


@pytest.mark.requirement("M3")
def test_items_are_listed_in_pages_with_an_exact_has_more(client: OpenAI) -> None:
    conversation = client.conversations.create()
    items: Any = [{"type": "message", "role": "user", "content": f"text {number}"} for number in range(6)]
    added = client.conversations.items.create(conversation.id, items=items)
    assert [item.status for item in added.data] == ["completed"] * 6
    assert added.data[0].content[0].to_dict() == {"type": "input_text", "text": "text 0"}
    newest = client.conversations.items.list(conversation.id, limit=3)
    assert [item.content[0].text for item in newest.data] == ["text 5", "text 4", "text 3"]
    assert newest.has_more
    rest = client.conversations.items.list(conversation.id, limit=3, after=newest.last_id)
    assert not rest.has_more
    everything = [
        item.content[0].text for item in client.conversations.items.list(conversation.id, order="asc", limit=2)
    ]
    assert everything == [f"text {number}" for number in range(6)]


@pytest.mark.requirement("M3")
def test_an_item_is_read_and_removed(client: OpenAI) -> None:
    conversation = client.conversations.create(items=[{"role": "user", "content": "Hello", "type": "message"}])
    [item] = client.conversations.items.list(conversation.id).data
    assert client.conversations.items.retrieve(item.id, conversation_id=conversation.id) == item
    assert client.conversations.items.delete(item.id, conversation_id=conversation.id).id == conversation.id
    assert client.conversations.items.list(conversation.id).data == []
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(item.id, conversation_id=conversation.id)


@pytest.mark.requirement("M3")
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_continues_its_conversation(client: OpenAI, scripted: ScriptedUpstream, stream: bool) -> None:
    scripted.on("glm", Say("I am one."), Say("I am two."))
    conversation = client.conversations.create()
    for text in ("One?", "Two?"):
        if stream:
            with client.responses.stream(model="glm", input=text, conversation=conversation.id) as events:
                response = events.get_final_response()
        else:
            response = client.responses.create(model="glm", input=text, conversation={"id": conversation.id})
        assert response.conversation is not None
        assert response.conversation.id == conversation.id
    assert received(scripted) == [("user", "One?"), ("assistant", "I am one."), ("user", "Two?")]
    listed = client.conversations.items.list(conversation.id, order="asc").data
    assert [(item.type, item.role) for item in listed] == [("message", "user"), ("message", "assistant")] * 2
    assert listed[-1].content[0].text == "I am two."


@pytest.mark.requirement("M3")
def test_a_background_response_continues_its_conversation(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("I am one."))
    conversation = client.conversations.create()
    begun = client.responses.create(model="glm", input="One?", conversation=conversation.id, background=True)
    with client.responses.retrieve(begun.id, stream=True) as events:
        assert [event.type for event in events][-1] == "response.completed"
    listed = client.conversations.items.list(conversation.id, order="asc").data
    assert [item.role for item in listed] == ["user", "assistant"]


@pytest.mark.requirement("M3")
def test_a_call_and_its_result_stand_in_two_responses(client: OpenAI, scripted: ScriptedUpstream) -> None:
    call = {"id": "call_1", "name": "look", "arguments": "{}"}
    scripted.on("glm", Say(tool_calls=[call], finish="tool_calls"), Say("There it is."))
    tools: Any = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]
    conversation = client.conversations.create()
    client.responses.create(model="glm", input="Look!", conversation=conversation.id, tools=tools)
    result: Any = [{"type": "function_call_output", "call_id": "call_1", "output": "a bird"}]
    client.responses.create(model="glm", input=result, conversation=conversation.id, tools=tools)
    asked, called, returned = scripted.calls("glm")[-1].messages
    assert (asked["content"], called["tool_calls"][0]["id"], returned["content"]) == ("Look!", "call_1", "a bird")
    kinds = [item.type for item in client.conversations.items.list(conversation.id, order="asc").data]
    assert kinds == ["message", "function_call", "function_call_output", "message"]


@pytest.mark.requirement("M3")
def test_an_answer_that_breaks_off_is_kept_and_marked(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Cut(2, "I am one."))
    conversation = client.conversations.create()
    events = list(client.responses.create(model="glm", input="One?", conversation=conversation.id, stream=True))
    assert events[-1].type in ("response.failed", "error")
    listed = client.conversations.items.list(conversation.id, order="asc").data
    assert [(item.role, item.status) for item in listed] == [("user", "completed"), ("assistant", "incomplete")]


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_unknown"}, "conversation"),
        ({"conversation": {"id": "conv_unknown"}}, "conversation"),
    ],
)
def test_an_unknown_conversation_is_404(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.responses.create(model="glm", input="One?", **fields)
    assert raised.value.param == param


@pytest.mark.requirement("M3")
def test_a_conversation_and_a_previous_response_exclude_each_other(client: OpenAI) -> None:
    first = client.responses.create(model="glm", input="One?")
    conversation = client.conversations.create()
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="glm", input="Two?", previous_response_id=first.id, conversation=conversation.id)


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(
    ("path", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=no", "after")],
)
def test_a_query_out_of_range_names_its_parameter(client: OpenAI, path: str, param: str) -> None:
    conversation = client.conversations.create()
    with pytest.raises(openai.APIStatusError) as raised:
        client.get(f"/conversations/{conversation.id}/items?{path}", cast_to=object)
    assert raised.value.status_code == (404 if param == "after" else 400)
    assert raised.value.param == param


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"x" * 65: "y"}},
        {"metadata": {"x": "y" * 513}},
        {"metadata": {"x": 5}},
        {"metadata": {str(number): "" for number in range(17)}},
        {"items": [{"role": "user", "content": "Hello"}] * 21},
        {"items": ["Hello"]},
        {"items": [{"role": "nobody", "content": "Hello"}]},
    ],
)
def test_what_exceeds_openais_limits_is_400(client: OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.post("/conversations", body=body, cast_to=object)
    assert raised.value.param.startswith(next(iter(body)))
