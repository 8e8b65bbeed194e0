"""What clients send beyond the documentation: it is converted, kept, or left out with a warning,
and nothing is refused for one element (issue 11, kinds 3, 4, 7).
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus.errors import InvalidRequest, UnsupportedFeature
from chorus.server.dialects import DIALECTS
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.base import Dialect, ParsedRequest
from chorus.server.dialects.ollama.chat import OllamaChat
from chorus.server.dialects.openai.chat import OpenAIChat
from chorus.server.dialects.openai.completions import OpenAICompletions
from chorus.types import Image, Message, Opaque, Text, ToolCall
from tests.kit import ScriptedUpstream

USER: Final = {"role": "user", "content": "How?"}
MARK: Final = {"cache_control": {"type": "ephemeral"}}
PNG: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw"}}
IMAGE: Final = Image("data:image/png;base64,iVBORw")


def chat(*messages: dict[str, Any], **more: Any) -> ParsedRequest:
    return OpenAIChat().parse({"model": "glm", "messages": list(messages), **more})


def claude(*messages: dict[str, Any], **more: Any) -> ParsedRequest:
    return AnthropicMessages().parse({"model": "glm", "messages": list(messages), **more})


def blocks(*content: dict[str, Any], role: str = "user", **more: Any) -> ParsedRequest:
    return claude({"role": role, "content": list(content)}, **more)


def only(asked: ParsedRequest) -> Message:
    [message] = asked.requests[0].messages
    return message


def chat_call(arguments: Any, **more: Any) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"a":1}', '{"a":1}'), ({"a": 1}, '{"a":1}'), (None, "{}"), ("", "{}"), ({}, "{}"), ([1], "[1]")],
)
def test_arguments_of_a_history_in_every_form(arguments: Any, expected: str) -> None:
    assert only(chat(chat_call(arguments))).tool_calls == (ToolCall("c", "f", expected),)
    native = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}
    asked = OllamaChat().parse({"model": "glm", "messages": [native]})
    assert only(asked).tool_calls == (ToolCall("c", "f", expected),)


def test_calls_without_ids_are_paired_with_their_results() -> None:
    call: dict[str, Any] = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "tool_calls": [call, {**call, "function": {"name": "g"}}]}
    asked = chat(USER, turn, {"role": "tool", "name": "g", "content": "2"}, {"role": "tool", "content": "1"})
    _, calls, second, first = asked.requests[0].messages
    assert [each.id for each in calls.tool_calls] == [first.tool_call_id, second.tool_call_id]
    assert len({each.id for each in calls.tool_calls}) == 2
    assert second.name == "g"


def test_the_old_functions_are_calls_of_tools() -> None:
    turn = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    asked = chat(USER, turn, {"role": "function", "name": "f", "content": "r"}, functions=[{"name": "f"}])
    _, calls, result = asked.requests[0].messages
    assert result == Message("tool", "r", tool_call_id=calls.tool_calls[0].id, name="f")


@pytest.mark.parametrize("content", [None, "", [], "absent"])
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_a_message_without_content_is_one(content: Any, role: str) -> None:
    message = {"role": role} if content == "absent" else {"role": role, "content": content}
    assert only(chat(message)).text == ""
    if role != "tool" and content != []:
        assert only(OllamaChat().parse({"model": "glm", "messages": [message]})).text == ""


def test_fields_of_messages_parts_calls_and_tools_are_kept() -> None:
    details = {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}], "annotations": [], "audio": {"id": "a"}}
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    tool = {"type": "function", "function": {"name": "f"}, **MARK}
    asked = chat(
        {"role": "user", "content": [{"type": "text", "text": "x", **MARK}], "weight": 0},
        {**chat_call("{}", **signed), **details, "refusal": None},
        tools=[tool],
    )
    user, assistant = asked.requests[0].messages
    assert user == Message("user", (Text("x", MARK),), extra={"weight": 0})
    assert assistant.extra == details
    assert assistant.tool_calls[0].extra == signed
    assert list(asked.requests[0].tools) == [tool]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_of_a_history_is_kept(field: str) -> None:
    assert only(chat({"role": "assistant", "content": "x", field: "hm"})).reasoning == "hm"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "http://a/b.mp4"}},
        {"type": "of tomorrow", "x": [1]},
    ],
)
def test_parts_of_other_kinds_are_passed_on(part: dict[str, Any]) -> None:
    assert only(chat({"role": "user", "content": [part]})).content == (Opaque(part),)


def test_images_stay_in_tool_results() -> None:
    url = {"type": "image_url", "image_url": {"url": IMAGE.url, "detail": "low"}}
    asked = chat(chat_call("{}"), {"role": "tool", "tool_call_id": "c", "content": [url]})
    assert asked.requests[0].messages[1].content == (Image(IMAGE.url, "low"),)
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "see"}, PNG]}
    assert only(blocks(result)).content == (Text("see"), IMAGE)
    assert only(blocks({**result, "is_error": True})).content == (Text("Error: see"), IMAGE)
    assert only(blocks({**result, "content": [PNG], "is_error": True})).content == (Text("Error: "), IMAGE)


def test_custom_and_hosted_tools_of_chat() -> None:
    custom = {"type": "custom", "custom": {"name": "patch", "description": "Edits.", "format": {"type": "text"}}}
    hosted = {"type": "web_search"}
    function = {"type": "function", "function": {"name": "f"}}
    asked = chat(USER, tools=[custom, hosted, function], tool_choice={"type": "custom", "custom": {"name": "patch"}})
    request = asked.requests[0]
    assert [tool["function"]["name"] for tool in request.tools] == ["patch", "f"]
    assert request.tools[0]["function"]["parameters"]["required"] == ["input"]
    assert request.tool_choice == {"type": "function", "function": {"name": "patch"}}
    assert asked.warnings == ("`tools[1]` is left out: this type of tool is not supported here.",)
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function]}}
    request = chat(USER, tools=[custom, function], tool_choice=allowed).requests[0]
    assert ([tool["function"]["name"] for tool in request.tools], request.tool_choice) == (["f"], "required")
    call = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert only(chat({"role": "assistant", "tool_calls": [call]})).tool_calls[0].arguments == '{"input":"*** Begin"}'


def test_anthropics_own_tools_are_left_out_or_become_functions() -> None:
    asked = blocks(
        {"type": "text", "text": "x"},
        tools=[
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            {"type": "code_execution_20250825", "name": "code_execution"},
            {"type": "computer_20250124", "name": "computer", "display_width_px": 9},
            {"type": "mcp_toolset", "mcp_server_name": "s"},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            {"type": "memory_20250818", "name": "memory"},
            {"type": "custom", "name": "f", "input_schema": {"type": "object"}, **MARK},
        ],
        tool_choice={"type": "tool", "name": "web_search"},
    )
    tools = asked.requests[0].tools
    assert [tool["function"]["name"] for tool in tools] == ["bash", "str_replace_based_edit_tool", "memory", "f"]
    assert tools[3]["cache_control"] == MARK["cache_control"]
    assert asked.requests[0].tool_choice is None
    assert sum("left out" in sentence for sentence in asked.warnings) == 5
    assert sum("as a function" in sentence for sentence in asked.warnings) == 3


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}, ""),
        (
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [{"type": "web_search_result", "title": "T", "url": "http://a", "encrypted_content": "zz"}],
            },
            "T\nhttp://a",
        ),
        ({"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "found"}]}, "found"),
        ({"type": "mcp_tool_use", "id": "m", "name": "n", "server_name": "s", "input": {}}, ""),
        ({"type": "container_upload", "file_id": "f"}, ""),
        ({"type": "of tomorrow", "text": "words"}, "words"),
    ],
)
def test_blocks_of_server_tools_are_text_or_left_out(block: dict[str, Any], text: str) -> None:
    asked = blocks(block, {"type": "text", "text": "So."}, role="assistant")
    assert only(asked).text == "\n".join(filter(None, [text, "So."]))
    assert len(asked.warnings) == 1
    assert "messages[0].content[0]" in asked.warnings[0]


def test_documents_and_search_results() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "TUFSSw=="}
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    asked = blocks(
        {"type": "document", "source": plain, "title": "a.txt", "context": "An old one."},
        {"type": "document", "source": pdf, "title": "a.pdf", **MARK},
        {"type": "document", "source": {"type": "url", "url": "http://a/b.pdf"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "in"}, PNG]}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "search_result", "title": "T", "source": "http://s", "content": [{"type": "text", "text": "hit"}]},
    )
    file = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,TUFSSw=="}
    far = {"filename": "document.pdf", "file_data": "http://a/b.pdf"}
    assert only(asked).content == (
        Text("Document: a.txt\nAn old one.\nwords"),
        Opaque({"type": "file", "file": file, **MARK}),
        Opaque({"type": "file", "file": far}),
        Text("in"),
        IMAGE,
        Text("[A document that was uploaded elsewhere is not available.]"),
        Text("T\nhttp://s\nhit"),
    )
    assert len(asked.warnings) == 1


def test_cache_marks_are_kept() -> None:
    text = {"type": "text", "text": "x", **MARK}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "r", **MARK}
    asked = claude({"role": "user", "content": [result, text]}, system=[text, {"type": "text", "text": "y"}])
    system, tool, user = asked.requests[0].messages
    assert system.content == (Text("x", MARK), Text("y"))
    assert tool.content == (Text("r", MARK),)
    assert user.content == (Text("x", MARK),)


def test_system_turns_among_the_messages_stand_where_they_are() -> None:
    """Claude Code sends them."""
    asked = claude(USER, {"role": "system", "content": [{"type": "text", "text": "Agents: none."}]}, system="Be.")
    assert [(each.role, each.text) for each in asked.requests[0].messages] == [
        ("system", "Be."),
        ("user", "How?"),
        ("system", "Agents: none."),
    ]


def test_thinking_of_another_server_is_kept_with_its_signature() -> None:
    message = only(
        blocks(
            {"type": "thinking", "thinking": "hm", "signature": "theirs"},
            {"type": "redacted_thinking", "data": "secret"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            role="assistant",
        )
    )
    assert message.reasoning == "hm"
    shown = [{key: each.get(key) for key in ("type", "text", "signature", "data")} for each in _details(message)]
    assert shown == [
        {"type": "reasoning.text", "text": "hm", "signature": "theirs", "data": None},
        {"type": "reasoning.encrypted", "text": None, "signature": None, "data": "secret"},
    ]


def _details(message: Message) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = message.extra["reasoning_details"]
    return details


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        ({"type": "enabled", "budget_tokens": 4000}, None, "low"),
        ({"type": "enabled", "budget_tokens": 31_999}, None, "high"),
        ({"type": "adaptive"}, None, True),
        ({"type": "adaptive"}, "max", "max"),
        ({"type": "disabled"}, "high", False),
        (None, None, None),
    ],
)
def test_thinking_is_an_effort(thinking: Any, effort: str | None, expected: Any) -> None:
    config = {"effort": effort} if effort else None
    assert claude(USER, thinking=thinking, output_config=config).requests[0].reasoning_effort == expected


def test_a_limit_of_minus_one_is_none() -> None:
    completion = OpenAICompletions().parse({"model": "glm", "prompt": "x", "max_tokens": -1})
    for asked in (
        chat(USER, max_tokens=-1),
        chat(USER, max_completion_tokens=-1),
        claude(USER, max_tokens=-1),
        completion,
    ):
        assert asked.requests[0].sampling.max_tokens is None


def test_ollamas_histories() -> None:
    schema = {"type": "object"}
    asked = OllamaChat().parse(
        {
            "model": "glm",
            "format": json.dumps(schema),
            "messages": [
                {"role": "ipython", "content": "x"},
                {"role": "assistant", "thinking": "hm", "tool_calls": [{"function": {"name": "f"}}], "weight": 1},
                {"role": "tool", "tool_name": "f", "content": "r", "images": ["iVBORw"]},
            ],
        }
    )
    user, assistant, tool = asked.requests[0].messages
    assert (user.role, user.text) == ("user", "x")
    assert asked.warnings == ("`messages[0].role` is unknown here: the message is sent as the user's.",)
    assert (assistant.reasoning, assistant.extra) == ("hm", {"weight": 1})
    assert tool == Message("tool", (Text("r"), IMAGE), tool_call_id=assistant.tool_calls[0].id, name="f")
    assert asked.requests[0].response_format["json_schema"]["schema"] == schema


async def test_what_is_left_out_is_in_a_header_and_the_rest_arrives(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    own = {"name": "f", "input_schema": {"type": "object"}}
    body = {"model": "glm", "messages": [USER], "tools": [search, own], "context_management": {"edits": []}}
    context = await client.post("/v1/messages?beta=true", json=body)
    assert context.status_code == 200
    warning = context.headers["x-chorus-warning"]
    assert "tools[0]" in warning
    assert "context_management" in warning
    sent = scripted.calls("glm")[0].json
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["f"]
    assert sent["messages"] == [USER]


def test_results_without_calls_and_calls_without_results_take_linear_time() -> None:
    """Of 60,000 open calls the one of a result is looked for among the oldest."""
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = [{"role": "assistant", "tool_calls": [call] * 30_000}]
    results = [{"role": "tool", "name": "g", "content": "r"}] * 30_000
    asked = chat(*calls, *results)
    assert asked.requests[0].messages[-1].tool_call_id == asked.requests[0].messages[0].tool_calls[-1].id


KEYS: Final = st.sampled_from(
    [
        "type",
        "text",
        "role",
        "content",
        "name",
        "id",
        "function",
        "arguments",
        "tool_calls",
        "image_url",
        "url",
        "source",
        "data",
        "input",
        "thinking",
        "signature",
        "tool_use_id",
        "custom",
        "file",
        "images",
        "format",
        "tools",
        "messages",
        "system",
    ]
)
WORDS: Final = st.sampled_from(
    [
        "text",
        "image",
        "image_url",
        "tool_use",
        "tool_result",
        "thinking",
        "document",
        "file",
        "function",
        "custom",
        "user",
        "assistant",
        "tool",
        "x",
        "url",
        "base64",
    ]
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
@given(
    messages=st.lists(
        st.fixed_dictionaries({"role": WORDS, "content": JSON}, optional={"tool_calls": JSON}), max_size=3
    ),
    more=st.fixed_dictionaries({}, optional={"tools": JSON, "system": JSON, "tool_choice": JSON, "functions": JSON}),
)
@settings(max_examples=30, deadline=None)
def test_any_body_is_read_or_refused_by_name(
    dialect: Dialect, messages: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    body = {"model": "glm", "messages": messages, "prompt": "x", **more}
    with contextlib.suppress(InvalidRequest, UnsupportedFeature):
        asked = dialect.parse(body)
        assert asked.model == "glm"
        for request in asked.requests:
            assert request.tools.encoded
            assert all(isinstance(call.arguments, str) for each in request.messages for call in each.tool_calls)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": 1}, '{"a":1}'),
        ([{"a": 1}], '[{"a":1}]'),
        ([1, "x"], '[1,"x"]'),
        (7, "7"),
        (True, "true"),
        (None, ""),
        ([], ""),
        ("r", "r"),
    ],
)
@pytest.mark.parametrize("role", ["tool", "function"])
def test_what_a_tool_returned_may_be_any_json(content: Any, expected: str, role: str) -> None:
    result = {"role": role, "tool_call_id": 7, "content": content}
    message = chat(chat_call("{}"), result).requests[0].messages[-1]
    assert message.role == "tool"
    assert message.text == expected
    assert message.tool_call_id == "7"


def test_ids_that_are_numbers_stay_together() -> None:
    call = {"id": 7, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = chat({"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": 7, "content": "r"})
    assert [asked.requests[0].messages[0].tool_calls[0].id, asked.requests[0].messages[1].tool_call_id] == ["7", "7"]


@pytest.mark.parametrize(
    "part",
    [
        PNG,
        {"type": "image", "data": "iVBORw", "mimeType": "image/png"},
        {"type": "image", "source_type": "base64", "data": "iVBORw", "mime_type": "image/png"},
        {"type": "image", "base64": "iVBORw", "mime_type": "image/png"},
        {"type": "image", "url": "data:image/png;base64,iVBORw"},
        {"type": "image", "source": {"type": "url", "url": "data:image/png;base64,iVBORw"}},
    ],
)
@pytest.mark.parametrize("role", ["user", "tool"])
def test_images_in_the_shapes_of_others_are_images(part: dict[str, Any], role: str) -> None:
    given = {"role": role, "tool_call_id": "c", "content": [{"type": "text", "text": "see"}, part]}
    message = chat(chat_call("{}"), given).requests[0].messages[-1]
    assert message.content == (Text("see"), IMAGE)


@pytest.mark.parametrize("part", [{"type": "image"}, {"type": "image", "source": {"type": "file", "file_id": "f"}}])
def test_an_image_that_is_elsewhere_stays_as_it_is(part: dict[str, Any]) -> None:
    assert only(chat({"role": "user", "content": [part]})).content == (Opaque(part),)
