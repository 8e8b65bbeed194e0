"""Reasoning and provider fields go out in a Responses answer and come back with the next turn
(A3).
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from chorus.events import Delta, Event, StageStarted
from chorus.server.dialects.opaque_reasoning import seal
from chorus.server.dialects.responses.stream import response_of
from chorus.types import Message, ToolPiece
from tests.kit import Say, ScriptedUpstream
from tests.server.dialects.responses import HI, asked, chat, context, delta, output, saying, streamed

INCLUDE = ["reasoning.encrypted_content"]
CALL = {"type": "function_call", "call_id": "call_0", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_0", "output": "seen"}
SIGNED = {"extra_content": {"google": {"thought_signature": "abc"}}}


def thought(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}], **more}


def again(items: list[dict[str, Any]], *behind: Any) -> Message:
    """The assistant's message, when these output items of its come back."""
    request = chat(input=[HI, *items, *behind])
    (message,) = [message for message in request.messages if message.role == "assistant"]
    return message


@pytest.mark.parametrize(
    ("item", "reasoning"),
    [
        (thought("hm"), "hm"),
        ({**thought(""), "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}, "hm"),
        (thought("short", content=[{"type": "reasoning_text", "text": "long"}]), "long"),
        (thought("short", encrypted_content=seal("all of it", {})), "all of it"),
        (thought("hm", encrypted_content="gAAAA of somebody else"), "hm"),
        (thought("hm", encrypted_content=None), "hm"),
        ({"type": "reasoning", "summary": []}, ""),
        ({"type": "reasoning", "summary": "hm", "content": 7}, "hm"),
    ],
)
@pytest.mark.requirement("A3")
def test_reasoning_belongs_to_the_turn_behind_it(item: Any, reasoning: str) -> None:
    request = chat(input=[HI, item, CALL, RESULT, HI])
    assert [message.role for message in request.messages] == ["user", "assistant", "tool", "user"]
    assert request.messages[1].reasoning == reasoning
    assert request.messages[1].tool_calls[0].name == "look"


@pytest.mark.requirement("A3")
def test_an_unknown_encrypted_content_is_left_out_with_a_warning() -> None:
    request = asked(input=[HI, thought("hm", encrypted_content="of somebody else"), CALL, RESULT])
    assert len(request.warnings) == 1
    assert "encrypted_content" in request.warnings[0]


@pytest.mark.requirement("A3")
def test_a_turn_is_one_message() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    message = again([thought("first"), said, thought("second"), CALL], RESULT)
    assert message.text == "I look."
    assert message.reasoning == "first\n\nsecond"
    assert len(message.tool_calls) == 1


@pytest.mark.requirement("A3")
def test_reasoning_behind_an_answer_belongs_to_the_next_answer() -> None:
    said = {"type": "message", "role": "assistant", "content": "one"}
    request = chat(input=[HI, thought("first"), said, thought("second"), {**said, "content": "two"}])
    assert [(message.text, message.reasoning) for message in request.messages[1:]] == [
        ("one", "first"),
        ("two", "second"),
    ]


@pytest.mark.requirement("A3")
def test_reasoning_without_an_answer_is_left_out_with_a_warning() -> None:
    request = asked(input=[HI, thought("hm"), HI])
    assert [message.role for message in request.requests[0].messages] == ["user", "user"]
    assert len(request.warnings) == 1


@pytest.mark.requirement("A3")
def test_encrypted_content_comes_where_it_was_asked_for() -> None:
    events = saying(delta(reasoning="I "), delta(reasoning="think"), delta(text="Yes."), text="Yes.")
    plain, _ = output(asked(), events)
    assert "encrypted_content" not in plain
    reasoning, said = output(asked(include=INCLUDE, store=False), events)
    assert reasoning["summary"] == [{"type": "summary_text", "text": "I think"}]
    without_summary = {**reasoning, "summary": []}
    assert again([without_summary, said]).reasoning == "I think"


@pytest.mark.requirement("W8")
def test_progress_does_not_come_back_as_reasoning_of_a_model() -> None:
    deltas = [StageStarted(("0",), 0.1, "worker", "glm"), delta(reasoning="I think"), delta(text="Yes.")]
    request = msgspec.structs.replace(asked(include=INCLUDE), progress=True)
    events = saying(*deltas, text="Yes.")
    items = response_of(context(request), events)["output"]
    assert "glm" in items[0]["summary"][0]["text"]
    assert again(items).reasoning == "I think"


@pytest.mark.requirement("W10")
def test_the_reasoning_of_a_workflows_winner_comes_back() -> None:
    """A flow that is the whole plan sends it under the empty path."""
    events = saying(Delta((), 0.5, reasoning="I think", choice=0), Delta((), 0.5, text="Yes.", choice=0), text="Yes.")
    assert again(output(asked(include=INCLUDE, store=False), events)).reasoning == "I think"


def signed_call() -> list[Event]:
    piece = ToolPiece(0, "call_0", "look", "{}", SIGNED)
    return saying(delta(reasoning="hm"), delta(tool_calls=(piece,)))


@pytest.mark.parametrize("fields", [{"include": INCLUDE}, {}])
@pytest.mark.requirement("A3")
def test_the_fields_of_a_call_come_back(fields: dict[str, Any]) -> None:
    items = output(asked(**fields), signed_call())
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    message = again(items, RESULT)
    assert message.reasoning == "hm"
    assert message.tool_calls[0].extra == SIGNED


@pytest.mark.requirement("A3")
def test_fields_without_reasoning_get_an_item_of_their_own() -> None:
    events = saying(delta(tool_calls=(ToolPiece(0, "call_0", "look", "{}", SIGNED),)))
    items = output(asked(), events)
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    assert items[0]["summary"] == []
    assert again(items, RESULT).tool_calls[0].extra == SIGNED


@pytest.mark.requirement("A3")
def test_fields_that_come_last_come_back_too() -> None:
    details = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}]}
    events = saying(
        delta(tool_calls=(ToolPiece(0, "call_0", "look"),)),
        delta(tool_calls=(ToolPiece(0, arguments="{}", extra=SIGNED),)),
        delta(extra=details),
    )
    items = output(asked(), events)
    assert [item["type"] for item in items] == ["function_call", "reasoning"]
    # agents write down results as they have them
    for order in (items, [items[0], RESULT, items[1]]):
        behind = [{"type": "message", "role": "assistant", "content": "Yes."}] if RESULT in order else [RESULT]
        request = chat(input=[HI, *order, *behind])
        assistants = [message for message in request.messages if message.role == "assistant"]
        assert assistants[0].tool_calls[0].extra == SIGNED
        assert any(message.extra == details for message in assistants)


@pytest.mark.requirement("A3")
def test_pieces_of_fields_are_put_together() -> None:
    pieces = [{"reasoning_details": [{"text": "a"}]}, {"reasoning_details": [{"text": "b"}]}]
    events = saying(
        delta(reasoning="a", extra=pieces[0]), delta(text="x"), delta(extra=pieces[1]), delta(text="y"), text="xy"
    )
    message = again(output(asked(include=INCLUDE), events))
    assert message.text == "xy"
    assert message.extra == {"reasoning_details": [{"text": "a"}, {"text": "b"}]}


@pytest.mark.requirement("A3")
def test_citations_become_annotations() -> None:
    cited = {
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}],
        "citations": ["https://a.example", "https://b.example"],
        "search_results": [{"url": "https://b.example", "title": "B", "date": None}],
    }
    events = saying(delta(text="It "), delta(extra=cited), delta(text="rains."), delta(extra=cited), text="It rains.")
    (item,) = output(asked(), events)
    found = item["content"][0]["annotations"]
    assert [(each["type"], each["url"], each["title"]) for each in found] == [
        ("url_citation", "https://a.example", "A"),
        ("url_citation", "https://b.example", "B"),
    ]
    assert all({"start_index", "end_index"} <= each.keys() for each in found)
    added = [frame for frame in streamed(asked(), events) if frame["type"] == "response.output_text.annotation.added"]
    assert [frame["annotation"] for frame in added] == found
    assert [frame["annotation_index"] for frame in added] == [0, 1]


@pytest.mark.requirement("A3")
def test_images_become_items() -> None:
    image = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    said, made = output(asked(), saying(delta(text="Here."), delta(extra=image), text="Here."))
    assert said["type"] == "message"
    assert (made["type"], made["result"], made["status"]) == ("image_generation_call", "AAAA", "completed")


@pytest.mark.requirement("A3")
async def test_reasoning_comes_back_through_the_server(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("", reasoning="I think", tool_calls=[{"id": "c1", "name": "look", "arguments": "{}"}]))
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    body = {"model": "glm", "input": "hi", "tools": [tool], "include": INCLUDE, "store": False}
    first = (await client.post("/v1/responses", json=body)).json()
    assert [item["type"] for item in first["output"]] == ["reasoning", "function_call"]
    assert first["output"][0]["encrypted_content"]
    result = {"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "seen"}
    second = await client.post("/v1/responses", json={**body, "input": [HI, *first["output"], result]})
    assert second.status_code == 200
    assert "x-chorus-warning" not in second.headers
