"""Stored responses through the `openai` library: conversations by id, references, reading back,
deleting (A3).
"""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.conftest import received
from tests.kit import Say, ScriptedUpstream


@pytest.mark.requirement("A3")
def test_a_conversation_goes_on_by_the_id_of_its_last_response(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("I am one."), Say("I am two."), Say("I am three."))
    first = client.responses.create(model="glm", input="One?", instructions="Be kind.")
    second = client.responses.create(model="glm", input="Two?", previous_response_id=first.id)
    with client.responses.stream(model="glm", input="Three?", previous_response_id=second.id) as stream:
        third = stream.get_final_response()
    assert received(scripted) == [
        ("user", "One?"),
        ("assistant", "I am one."),
        ("user", "Two?"),
        ("assistant", "I am two."),
        ("user", "Three?"),
    ]
    assert third.previous_response_id == second.id
    assert client.responses.retrieve(third.id).output_text == "I am three."


@pytest.mark.requirement("A3")
def test_a_workflow_goes_on_too(client: OpenAI, scripted: ScriptedUpstream) -> None:
    first = client.responses.create(model="chorus", input="One?")
    assert client.responses.create(model="chorus", input="Two?", previous_response_id=first.id).output_text
    assert [role for role, _ in received(scripted)][:3] == ["user", "assistant", "user"]


@pytest.mark.requirement("A3")
def test_an_item_is_referred_to_by_its_id(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("I am one."))
    first = client.responses.create(model="glm", input="One?")
    history: Any = [
        {"role": "user", "content": "One?"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "And?"},
    ]
    client.responses.create(model="glm", input=history)
    assert received(scripted) == [("user", "One?"), ("assistant", "I am one."), ("user", "And?")]


@pytest.mark.requirement("A3")
def test_what_led_to_a_response_is_listed(client: OpenAI) -> None:
    response = client.responses.create(model="glm", input=[{"role": "user", "content": "One?"}])
    [item] = client.responses.input_items.list(response.id).data
    assert item.type == "message"
    assert item.id


@pytest.mark.requirement("A3")
def test_what_is_gone_or_was_never_kept_is_404(client: OpenAI) -> None:
    kept = client.responses.create(model="glm", input="One?")
    client.responses.delete(kept.id)
    unkept = client.responses.create(model="glm", input="One?", store=False)
    for response_id in (kept.id, unkept.id, "resp_never"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response_id)
        with pytest.raises(openai.NotFoundError) as lost:
            client.responses.create(model="glm", input="Two?", previous_response_id=response_id)
        assert lost.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="glm", input=[{"type": "item_reference", "id": unkept.output[0].id or ""}])
