"""Background responses through the `openai` library: polling, following, coming back, cancelling
(A3).
"""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.clients.conftest import ANSWER
from tests.kit import Cut, Gate, Hang, Say, ScriptedUpstream, Status

pytestmark = pytest.mark.requirement("A3")


def polled(client: OpenAI, response: Response) -> Response:
    """The response when it has ended, asked for as OpenAI's guide does."""
    until = time.monotonic() + 5
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < until, "the response never ended"
        response = client.responses.retrieve(response.id)
    return response


def test_a_response_is_polled_for(client: OpenAI, scripted: ScriptedUpstream, model: str) -> None:
    gate = Gate()
    scripted.on("glm" if model == "chorus" else model, Say(ANSWER, gate=gate))
    begun = client.responses.create(model=model, input="How?", background=True, metadata={"a": "b"})
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    assert client.responses.retrieve(begun.id).status == "in_progress"
    gate.open()
    done = polled(client, begun)
    assert (done.status, done.output_text, done.metadata) == ("completed", ANSWER, {"a": "b"})
    assert done.usage is not None
    assert done.usage.output_tokens
    assert client.responses.input_items.list(done.id).data
    follow_up = client.responses.create(model=model, input="And?", previous_response_id=done.id)
    assert follow_up.output_text


def test_a_reader_who_left_comes_back_where_he_was(client: OpenAI, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=1))
    received: list[Any] = []
    with client.responses.create(model="glm", input="How?", background=True, stream=True) as stream:
        for event in stream:
            received.append(event)
            if event.type == "response.output_text.delta":
                break
    gate.open()
    kept = received[0].response.id
    last = received[-1].sequence_number
    with client.responses.retrieve(kept, stream=True, starting_after=last) as rest:
        received += list(rest)
    assert [event.sequence_number for event in received] == list(range(len(received)))
    assert received[-1].type == "response.completed"
    assert received[-1].response.output_text == "one two three"
    with client.responses.retrieve(kept, stream=True) as again:
        assert [event.type for event in again] == [event.type for event in received]
    assert client.responses.retrieve(kept).output == received[-1].response.output


def test_cancelling_closes_the_upstream_call(client: OpenAI, scripted: ScriptedUpstream, model: str) -> None:
    waits = "judge" if model == "chorus" else model
    scripted.on(waits, Hang("headers"))
    begun = client.responses.create(model=model, input="How?", background=True)
    scripted.wait_requests_blocking(1, model=waits)
    cancelled = client.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    scripted.wait_idle_blocking()
    assert client.responses.cancel(begun.id).status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=model, input="And?", previous_response_id=begun.id)
    assert refused.value.param == "previous_response_id"


def test_who_follows_hears_of_the_cancelling(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Hang("body", pieces=1))
    with client.responses.create(model="glm", input="How?", background=True, stream=True) as stream:
        received: list[Any] = []
        for event in stream:
            received.append(event)
            if event.type == "response.output_text.delta":
                client.responses.cancel(received[0].response.id)
    assert received[-1].type == "response.failed"
    assert received[-1].response.status == "cancelled"


def test_deleting_stops_too(client: OpenAI, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Hang("headers"))
    begun = client.responses.create(model="glm", input="How?", background=True)
    scripted.wait_requests_blocking(1, model="glm")
    client.responses.delete(begun.id)
    scripted.wait_idle_blocking()
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(begun.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel(begun.id)


@pytest.mark.parametrize("fault", [Status(500), Cut(after_pieces=1)])
def test_a_failure_is_kept_with_its_reason(client: OpenAI, scripted: ScriptedUpstream, fault: Any) -> None:
    scripted.on("glm", fault)
    done = polled(client, client.responses.create(model="glm", input="How?", background=True))
    assert done.status == "failed"
    assert done.error is not None
    assert "glm" in done.error.message
    with client.responses.retrieve(done.id, stream=True) as stream:
        assert list(stream)[-1].type == "response.failed"


def test_what_cannot_be_done_is_a_400(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as unstored:
        client.responses.create(model="glm", input="How?", background=True, store=False)
    assert unstored.value.param == "store"
    plain = client.responses.create(model="glm", input="How?")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(plain.id)
    with pytest.raises(openai.BadRequestError) as unfollowed:
        client.responses.retrieve(plain.id, stream=True)
    assert unfollowed.value.param == "stream"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input="How?", background=True)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_never", stream=True)
    behind = client.responses.create(model="glm", input="How?", background=True)
    with pytest.raises(openai.BadRequestError) as odd:
        client.responses.with_raw_response.retrieve(behind.id, extra_query={"stream": "true", "starting_after": "-1"})
    assert odd.value.param == "starting_after"
