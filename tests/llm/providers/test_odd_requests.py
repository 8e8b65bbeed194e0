"""What agents send and Anthropic's and OpenAI's Responses API refuse, as those APIs get it.

The rules of the scripted upstreams hold for every body; each has its source there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chorus.types import ChatRequest, Image, Message, Sampling, Text, ToolCall, Tools
from tests.llm.providers.anthropic import writing
from tests.llm.providers.anthropic.writing import ADAPTIVE, BOTH, BUDGET
from tests.llm.providers.responses.test_written_requests import written as written_for_responses

HOW = Message("user", "How?")
LONG = "mcp__plugin_everything-claude-code_github__create_pull_request_review"
"""A name of 69 characters, as affaan-m's plug-in for Claude Code makes them."""
FIELDS: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
SCHEMAS: dict[str, Any] = {
    "alternatives": {"anyOf": [{"required": ["route"]}, {"required": ["file"]}], **FIELDS},
    "variants": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"id": {"type": "string"}, "city": {"type": "integer"}},
                "required": ["id"],
            },
            {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
        ]
    },
    "parts": {"allOf": [FIELDS, {"properties": {"day": {"type": "string"}}, "required": ["day"]}]},
    "reference": {"$ref": "#/definitions/Query", "definitions": {"Query": FIELDS}},
    "a reference to nothing": {"$ref": "#/definitions/None"},
    "a reference to itself": {"allOf": [{"$ref": "#"}]},
    "empty": {},
    "no object": {"type": "string"},
    "no type": {"properties": {"city": {"type": "string"}}},
    "nothing": None,
    "odd keys": {**FIELDS, "required": ["$filter"], "properties": {"$filter": {"type": "string"}, "city": {}}},
}


def tool(name: str = "weather", parameters: Any = FIELDS) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def call(id: str, name: str = "weather", arguments: str = '{"city": "Paris"}') -> Message:
    return Message("assistant", "", tool_calls=(ToolCall(id, name, arguments),))


def result(id: str | None, text: str = "rain") -> Message:
    return Message("tool", text, tool_call_id=id)


REQUESTS: dict[str, dict[str, Any]] = {
    "ids with pipes": {"messages": (HOW, call("call_1|fc_2"), result("call_1|fc_2"))},
    "ids with dots": {"messages": (HOW, call("functions.weather:0"), result("functions.weather:0"))},
    "ids that are too long": {"messages": (HOW, call("x" * 116), result("x" * 116))},
    "ids without a letter": {"messages": (HOW, call(""), result(""))},
    "ids that come again": {"messages": (HOW, call("c"), result("c"), call("c"), result("c", "sun"))},
    "ids that become the same": {"messages": (HOW, call("c.1"), call("c:1"), result("c.1"), result("c:1", "sun"))},
    "two calls with one id": {
        "messages": (
            HOW,
            Message("assistant", "", tool_calls=(ToolCall("c", "weather", "{}"), ToolCall("c", "weather", "{}"))),
            result("c"),
            result("c", "sun"),
        )
    },
    "a result without an id": {"messages": (HOW, call("c"), result(None))},
    "a result behind a user": {"messages": (HOW, call("c"), Message("user", "Faster!"), result("c"), HOW)},
    "a call without a result": {"messages": (HOW, call("c"), HOW)},
    "a call at the end": {"messages": (HOW, call("c"))},
    "a result without a call": {"messages": (HOW, result("c"), HOW)},
    "a result without a call, before another": {"messages": (HOW, call("c"), result("d"), result("c", "sun"))},
    "two results of one call": {"messages": (HOW, call("c"), result("c"), result("c", "sun"))},
    "arguments that are empty": {"messages": (HOW, call("c", arguments=""), result("c"))},
    "arguments that are no object": {"messages": (HOW, call("c", arguments="[1"), result("c"))},
    "a name with a dot": {"tools": Tools([tool("github.create_issue")])},
    "a name that is too long": {"tools": Tools([tool(LONG)])},
    "a name of a history": {"messages": (HOW, call("c", "git/status"), result("c"))},
    "two tools with one name": {"tools": Tools([tool(), tool()])},
    "an answer that has begun": {"messages": (HOW, Message("assistant", "The weather is "))},
    "an answer of white space": {"messages": (HOW, Message("assistant", "  "))},
    "answers in a row": {"messages": (HOW, Message("assistant", "So."), Message("assistant", "And so."), HOW)},
    "system messages without a word": {"messages": (Message("system", ""), Message("system", " "), HOW)},
    "a developer in between": {"messages": (HOW, Message("assistant", "So."), Message("developer", "Be brief."), HOW)},
    "parts without a word": {"messages": (Message("user", (Text(""), Text("How?"))),)},
    "a picture of another type": {"messages": (Message("user", (Image("data:image/png;base64,/9j/4AAQ"),)),)},
    "a tool that must be called, and thinking": {
        "tools": Tools([tool()]),
        "tool_choice": "required",
        "reasoning_effort": "high",
    },
    "thinking and a temperature": {"reasoning_effort": "high", "sampling": Sampling(temperature=0.2)},
    "thinking in a short answer": {"reasoning_effort": "high", "sampling": Sampling(max_tokens=500)},
    "the least answer": {"sampling": Sampling(max_tokens=1)},
    "one tool at a time": {"tools": Tools([tool()]), "parallel_tool_calls": False},
    "a choice among tools without any": {"tool_choice": "auto", "parallel_tool_calls": False},
    "some tools allowed": {
        "tools": Tools([tool("a.b"), tool("c")]),
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "a.b"}}]},
        },
    },
    "one tool chosen": {
        "tools": Tools([tool("a.b")]),
        "tool_choice": {"type": "function", "function": {"name": "a.b"}},
    },
    "a user with an address": {"extra": {"user": "ann@example.com"}},
    "a user with a number": {"extra": {"user": "+49 30 1234567"}},
    "a long key of the cache": {"extra": {"prompt_cache_key": "k" * 90, "safety_identifier": "s" * 90}},
    "an object, asked for by the system": {
        "messages": (Message("system", "Reply in JSON."), HOW),
        "response_format": {"type": "json_object"},
    },
    "an object, asked for by nobody": {"response_format": {"type": "json_object"}},
    "a schema with a name of its language": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Answer[str]", "schema": {**FIELDS, "additionalProperties": False}},
        }
    },
    "marks of several lengths": {
        "messages": (
            Message("system", (Text("Be brief.", {"cache_control": {"type": "ephemeral"}}),)),
            Message("user", (Text("How?", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),)),
        )
    },
    "many marks": {
        "messages": tuple(
            Message(role, (Text("So.", {"cache_control": {"type": "ephemeral"}}),))  # type: ignore[arg-type]
            for role in ("system", "user", "assistant", "user", "assistant", "user")
        )
    },
    **{f"a schema: {name}": {"tools": Tools([tool(parameters=schema)])} for name, schema in SCHEMAS.items()},
}

Written = Callable[[ChatRequest], tuple[dict[str, Any], list[str]]]


def for_anthropic(model: str) -> Written:
    return lambda request: writing.written(request, model)


def for_responses(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    fields = {name: getattr(request, name) for name in request.__struct_fields__ if name not in ("model", "messages")}
    return written_for_responses(*request.messages, **fields)


WRITERS: dict[str, Written] = {
    "budget": for_anthropic(BUDGET),
    "both": for_anthropic(BOTH),
    "adaptive": for_anthropic(ADAPTIVE),
    "responses": for_responses,
}


def written(by: str, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    return WRITERS[by](ChatRequest("m", fields.pop("messages", (HOW,)), **fields))


@pytest.mark.requirement("L2")
@pytest.mark.parametrize("fields", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("by", WRITERS)
def test_what_agents_send_is_taken(by: str, fields: dict[str, Any]) -> None:
    """Every text of the conversation arrives, but those of white space."""
    body, _ = written(by, **fields)
    text = json.dumps(body, ensure_ascii=False)
    for message in fields.get("messages", (HOW,)):
        assert message.text.strip() in text


@pytest.mark.parametrize(("by", "most"), [("budget", 128), ("responses", 64)])
def test_a_name_stands_for_one_that_is_refused(by: str, most: int) -> None:
    """Two names that would become the same stay apart, in tools, calls and the choice."""
    names = ["a.b", "a/b", "a_b", "n" * 140]
    history = (HOW, call("c", "a.b"), result("c"))
    choice = {"type": "function", "function": {"name": "a.b"}}
    body, _ = written(by, messages=history, tools=Tools(map(tool, names)), tool_choice=choice)
    sent = [each["name"] for each in body["tools"]]
    assert len(set(sent)) == 4
    assert sent[2] == "a_b"
    assert max(map(len, sent)) <= most
    assert body["tool_choice"]["name"] == sent[0]
    called = body["messages"][1]["content"][0] if by == "budget" else body["input"][1]
    assert called["name"] == sent[0]


@pytest.mark.parametrize(
    ("schema", "fields", "required"),
    [
        ("alternatives", {"city": {"type": "string"}}, None),
        ("variants", {"id": {"type": "string"}, "city": {"type": "integer"}}, ["id"]),
        ("parts", {"city": {"type": "string"}, "day": {"type": "string"}}, ["day"]),
        ("reference", {"city": {"type": "string"}}, None),
    ],
)
@pytest.mark.parametrize("by", ["budget", "responses"])
def test_a_schema_becomes_one_object(by: str, schema: str, fields: Any, required: Any) -> None:
    body, _ = written(by, tools=Tools([tool(parameters=SCHEMAS[schema])]))
    sent = body["tools"][0].get("input_schema") or body["tools"][0]["parameters"]
    assert (sent["type"], sent["properties"], sent.get("required")) == ("object", fields, required)


@pytest.mark.parametrize("by", ["budget", "responses"])
def test_a_result_belongs_to_its_call(by: str) -> None:
    body, warnings = written(by, **REQUESTS["ids that become the same"])
    if by == "budget":
        blocks = [block for turn in body["messages"] for block in turn["content"]]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = {each["tool_use_id"]: each["content"] for each in blocks if each["type"] == "tool_result"}
    else:
        calls = [item["call_id"] for item in body["input"] if item.get("type") == "function_call"]
        results = {each["call_id"]: each["output"] for each in body["input"] if "output" in each}
    assert [results[each] for each in calls] == ["rain", "sun"]
    assert warnings == []


@pytest.mark.parametrize("by", ["budget", "responses"])
def test_a_call_without_a_result_gets_one(by: str) -> None:
    body, [warning] = written(by, **REQUESTS["a call without a result"])
    assert "(no result: the call was not answered)" in json.dumps(body)
    assert "without a result" in warning


def test_an_answer_that_has_begun_is_no_turn_of_a_user_where_the_model_goes_on() -> None:
    begun = REQUESTS["an answer that has begun"]
    assert written("budget", **begun)[0]["messages"][-1]["role"] == "assistant"
    body, [warning] = written("adaptive", **begun)
    assert body["messages"][-1] == {"role": "user", "content": [{"type": "text", "text": "Continue."}]}
    assert "beginning of an answer" in warning
    body, [warning] = written("budget", **begun, reasoning_effort="high")
    assert "thinking" not in body
    assert "the answer has begun" in warning
