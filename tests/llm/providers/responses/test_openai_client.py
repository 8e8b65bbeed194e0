"""OpenAI's own client: of the scripted upstream, which proves that it is like the real one, and
through Chorus.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.kit.providers import ModelAnswer
from tests.kit.providers.responses import ResponsesProvider
from tests.kit.providers.responses_wire import (
    Item,
    custom_call,
    events,
    function_call,
    message,
    reasoning,
    response,
    web_search,
)

CITED = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
OUTPUT: list[Item] = [
    reasoning("rs_1", "First.", "Then.", encrypted="gAAA"),
    web_search("ws_1", "weather"),
    message("msg_1", "It is 好🙂 there.", annotations=[CITED], phase="commentary"),
    function_call("fc_1", "call_1", "look", {"city": "北京"}),
    custom_call("ctc_1", "call_2", "patch", 'a "b"\nc'),
]
TOOLS: list[Any] = [
    {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": True},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
    {"type": "web_search"},
]

pytestmark = [pytest.mark.requirement("L2"), pytest.mark.requirement("A3")]


def test_the_scripted_objects_are_those_of_the_public_types() -> None:
    whole = response(OUTPUT, {"model": "model-1"})
    assert Response.model_validate(whole, strict=True).output_text == "It is 好🙂 there."
    event = TypeAdapter(ResponseStreamEvent)
    refused = response(
        [message("msg_1", "", refusal="I will not.")], {}, status="incomplete", incomplete="content_filter"
    )
    for each in (*events(whole), *events(refused)):
        event.validate_python(each)


@pytest.mark.parametrize("which", ["direct", "client"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_kind_of_item_arrives(
    request: pytest.FixtureRequest, provider: ResponsesProvider, which: str, stream: bool
) -> None:
    client: OpenAI = request.getfixturevalue(which)
    provider.output = OUTPUT
    asked: Any = {"model": "model-1" if which == "direct" else "m", "input": "Where?", "tools": TOOLS}
    asked |= {"store": False, "include": ["reasoning.encrypted_content"]}
    if stream:
        with client.responses.stream(**asked) as events_of:
            for _ in events_of:
                pass
            answer: Response = events_of.get_final_response()
    else:
        answer = client.responses.create(**asked)
    assert answer.output_text == "It is 好🙂 there."
    kinds = [item.type for item in answer.output]
    assert kinds == ["reasoning", "web_search_call", "message", "function_call", "custom_tool_call"]
    thought, search, text, call, custom = (item.model_dump() for item in answer.output)
    assert "".join(part["text"] for part in thought["summary"]).replace("\n\n", "") == "First.Then."
    assert (search["id"], search["action"]["query"]) == ("ws_1", "weather")
    assert text["content"][0]["annotations"][0]["url"] == "https://a.example"
    assert text["phase"] == "commentary"
    assert (call["call_id"], json.loads(call["arguments"])) == ("call_1", {"city": "北京"})
    assert (custom["call_id"], custom["name"], custom["input"]) == ("call_2", "patch", 'a "b"\nc')
    assert not provider.refusals
    assert provider.requests[-1].body["tools"] == TOOLS


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_slow_model_answers_in_the_background(client: OpenAI, provider: ResponsesProvider, stream: bool) -> None:
    provider.script(ModelAnswer("It took an hour."))
    reply: Any = client.chat.completions.create(
        model="slow", messages=[{"role": "user", "content": "Go."}], stream=stream
    )
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in reply if chunk.choices)
    else:
        text = reply.choices[0].message.content
    assert text == "It took an hour."
    body = provider.requests[-1].body
    assert (body["background"], body["store"], body["reasoning"]) == (True, True, {"effort": "high"})
    assert not provider.refusals


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_second_turn_brings_everything_back_as_it_was(
    client: OpenAI, provider: ResponsesProvider, stream: bool
) -> None:
    provider.output = [
        reasoning("rs_1", encrypted="gAAA"),
        web_search("ws_1", "weather"),
        reasoning("rs_2", "Now I look.", encrypted="gBBB"),
        function_call("fc_1", "call_1", "look", {}),
        reasoning("rs_3", "And patch.", encrypted="gCCC"),
        custom_call("ctc_1", "call_2", "patch", "+ a"),
    ]
    asked: Any = {"model": "m", "tools": TOOLS, "store": False, "include": ["reasoning.encrypted_content"]}
    first: list[Any] = [{"role": "user", "content": "Where?"}]
    if stream:
        with client.responses.stream(input=first, **asked) as events_of:
            answer: Any = events_of.get_final_response()
    else:
        answer = client.responses.create(input=first, **asked)
    made, provider.output = provider.output, None
    results: list[Any] = [
        {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
    ]
    provider.script(ModelAnswer("Sun."))
    kept = [item.model_dump(exclude_none=True) for item in answer.output]
    assert client.responses.create(input=[*first, *kept, *results], **asked).output_text == "Sun."
    assert not provider.refusals
    sent = provider.requests[-1].body["input"]
    assert [item.get("id") for item in sent if item.get("type") == "reasoning"] == ["rs_1", "rs_2", "rs_3"]
    assert [item.get("type", "message") for item in sent] == [
        "message",
        *(item["type"] for item in made),
        "function_call_output",
        "custom_tool_call_output",
    ]
    assert sent[2] == made[1]
