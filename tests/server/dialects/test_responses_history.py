"""Items of tools in a Responses conversation, as the calls and results that chat upstreams accept
(A3, W10).
"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import InvalidRequest
from chorus.server.dialects.responses.upstream_items import for_chat
from chorus.types import Image, Message, Opaque, Text
from tests.kit import ScriptedUpstream
from tests.server.dialects.responses import HI, asked, chat

CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def turns(*items: Any, **fields: Any) -> tuple[Message, ...]:
    """The messages of a conversation that begins with HI and then has these items."""
    return chat(input=[HI, *items], **fields).messages[1:]


def check_accepted(messages: tuple[Message, ...]) -> None:
    """Each call has one result directly behind its message, and each result a call."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id or "")
            continue
        assert waiting == []
        assert message.content or message.tool_calls
        waiting = [call.id for call in message.tool_calls]
    assert waiting == []


@pytest.mark.parametrize(
    ("items", "name", "arguments", "result"),
    [
        (
            [
                {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
            ],
            "apply_patch",
            {"input": "*** Begin"},
            "ok",
        ),
        (
            [
                {
                    "type": "local_shell_call",
                    "id": "lsh_1",
                    "call_id": "c",
                    "status": "completed",
                    "action": {"type": "exec", "command": ["ls"], "env": {}},
                },
                {"type": "local_shell_call_output", "id": "lsh_1", "output": "a.txt"},
            ],
            "local_shell",
            {"command": ["ls"], "env": {}},
            "a.txt",
        ),
        (
            [
                {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls", "false"]}},
                {
                    "type": "shell_call_output",
                    "call_id": "c",
                    "output": [
                        {"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
                        {"stdout": "", "stderr": "no", "outcome": {"type": "exit", "exit_code": 1}},
                    ],
                },
            ],
            "shell",
            {"commands": ["ls", "false"]},
            "a.txt\nno\n(exit code 1)",
        ),
        (
            [
                {
                    "type": "apply_patch_call",
                    "call_id": "c",
                    "operation": {"type": "delete_file", "path": "a"},
                    "status": "completed",
                },
                {"type": "apply_patch_call_output", "call_id": "c", "status": "completed", "output": "gone"},
            ],
            "apply_patch",
            {"type": "delete_file", "path": "a"},
            "gone",
        ),
        (
            [
                {
                    "type": "mcp_call",
                    "id": "mcp_1",
                    "server_label": "mail",
                    "name": "find",
                    "arguments": '{"q": 1}',
                    "output": "two letters",
                }
            ],
            "mail__find",
            {"q": 1},
            "two letters",
        ),
        (
            [
                {
                    "type": "code_interpreter_call",
                    "id": "ci_1",
                    "code": "print(1)",
                    "outputs": [{"type": "logs", "logs": "1"}],
                }
            ],
            "code_interpreter",
            {"code": "print(1)"},
            "1",
        ),
        (
            [
                {
                    "type": "file_search_call",
                    "id": "fs_1",
                    "queries": ["rain"],
                    "results": [{"filename": "a.txt", "text": "It rains."}],
                }
            ],
            "file_search",
            {"queries": ["rain"]},
            "a.txt:\nIt rains.",
        ),
    ],
    ids=lambda value: value[0]["type"] if isinstance(value, list) else "",
)
@pytest.mark.requirement("A3")
def test_a_call_and_its_result(items: list[Any], name: str, arguments: Any, result: str) -> None:
    call, output = turns(*items)
    assert call.tool_calls[0].name == name
    assert json.loads(call.tool_calls[0].arguments) == arguments
    assert output.role == "tool"
    assert output.tool_call_id == call.tool_calls[0].id
    assert output.text == result


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "file_search_call", "id": "fs_1", "queries": ["x"], "results": None},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
        {"type": "mcp_list_tools", "id": "m", "server_label": "x", "tools": []},
        {"type": "mcp_approval_request", "id": "m", "name": "x", "arguments": "{}", "server_label": "x"},
        {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True},
        {"type": "tool_search_call", "execution": "server", "arguments": {}},
        {"type": "compaction", "encrypted_content": "abc"},
        {"type": "telepathy", "content": "hm"},
        {"type": ["list"], "content": "hm"},
    ],
    ids=lambda item: str(item["type"]),
)
@pytest.mark.requirement("A3")
def test_an_item_without_a_text_is_left_out_with_a_warning(item: Any) -> None:
    request = asked(input=[HI, item])
    assert [message.role for message in for_chat(request.requests[0]).messages] == ["user"]
    assert len(request.warnings) == 1
    assert "left out" in request.warnings[0]
    assert "telepathy" not in request.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [({"x": 1}, '{"x":1}'), (None, "{}"), ("", "{}"), ('{"x": 1}', '{"x": 1}')],
)
@pytest.mark.requirement("A3")
def test_arguments_of_every_kind(arguments: Any, sent: str) -> None:
    assert turns({**CALL, "arguments": arguments}, RESULT)[0].tool_calls[0].arguments == sent
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "r"}]
    assert chat(input=None, messages=messages).messages[0].tool_calls[0].arguments == sent


@pytest.mark.parametrize(
    ("output", "content"),
    [
        ("seen", "seen"),
        (None, ""),
        ({"a": 1}, '{"a":1}'),
        ({"content": "seen", "success": False}, "seen"),
        ([{"a": 1}], '[{"a":1}]'),
        ([], "[]"),
        (7, "7"),
        ([{"type": "input_text", "text": "seen"}], "seen"),
        (
            [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG, "detail": "low"}],
            (Text("seen"), Image(PNG, "low")),
        ),
        ({"type": "computer_screenshot", "image_url": PNG}, (Image(PNG),)),
    ],
)
@pytest.mark.requirement("A3")
def test_outputs_of_every_kind(output: Any, content: Any) -> None:
    assert turns(CALL, {**RESULT, "output": output})[1].content == content


@pytest.mark.requirement("A3")
def test_a_call_without_a_result_and_a_result_without_a_call_are_repaired() -> None:
    request = asked(input=[HI, CALL, HI, {**RESULT, "call_id": "gone", "output": "lost"}])
    messages = request.requests[0].messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "user", "user"]
    assert "lost" in messages[-1].text
    assert len(request.warnings) == 2
    check_accepted(messages)


@pytest.mark.requirement("A3")
def test_results_stand_directly_behind_their_calls() -> None:
    second = {**CALL, "call_id": "c2"}
    messages = turns(CALL, second, HI, {**RESULT, "call_id": "c2"}, {"role": "developer", "content": "x"}, RESULT)
    assert [message.role for message in messages] == ["assistant", "tool", "tool", "user", "developer"]
    check_accepted(messages)


@pytest.mark.requirement("A3")
def test_ids_that_come_again_belong_to_their_own_turn() -> None:
    messages = turns(CALL, RESULT, CALL, {**RESULT, "output": "again"})
    assert [message.text for message in messages if message.role == "tool"] == ["seen", "again"]
    check_accepted(messages)


ITEMS = st.lists(
    st.one_of(
        st.sampled_from("abc").map(lambda name: {**CALL, "call_id": name}),
        st.sampled_from("abc").map(lambda name: {**RESULT, "call_id": name}),
        st.sampled_from("abc").map(
            lambda name: {"type": "custom_tool_call", "call_id": name, "name": "p", "input": ""}
        ),
        st.just({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}),
        st.sampled_from(["user", "assistant", "developer"]).map(lambda role: {"role": role, "content": "x"}),
        st.sampled_from([{"type": "web_search_call"}, {"type": "mcp_call", "id": "m", "name": "f", "output": "o"}]),
    ),
    max_size=12,
)


@given(ITEMS)
@pytest.mark.requirement("A3")
def test_every_conversation_is_one_that_chat_accepts(items: list[Any]) -> None:
    check_accepted(turns(*items))


@pytest.mark.requirement("A3")
def test_a_text_file_is_inlined_and_another_passed_on() -> None:
    text = base64.b64encode("好, it rains".encode()).decode()
    parts = [
        {"type": "input_file", "filename": "a.md", "file_data": text},
        {"type": "input_file", "filename": "b", "file_data": f"data:text/plain;base64,{text}"},
        {"type": "input_file", "filename": "c.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "file_url": "https://example.com/d.pdf"},
        {"type": "input_file", "filename": "e.txt", "file_data": base64.b64encode(b"\xff\xfe\xfd").decode()},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]
    (message,) = chat(input=[{"role": "user", "content": parts}]).messages
    assert message.content[:4] == (
        Text("File a.md:\n好, it rains"),
        Text("File b:\n好, it rains"),
        Opaque({"type": "file", "file": {"filename": "c.pdf", "file_data": "data:application/pdf;base64,JVBE"}}),
        Opaque({"type": "file", "file": {"file_url": "https://example.com/d.pdf"}}),
    )
    assert isinstance(message.content[4], Opaque)
    assert message.content[5] == Opaque({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}})


@pytest.mark.parametrize(
    "part", [{"type": "input_file", "filename": "a.pdf"}, {"type": "input_image", "file_id": "file-1"}]
)
@pytest.mark.requirement("A6")
def test_a_part_that_holds_nothing_is_named(part: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(input=[{"role": "user", "content": [part]}])
    assert (refused.value.param or "").startswith("input[0].content[0]")


@pytest.mark.requirement("A3")
def test_a_part_of_an_unknown_type_is_left_out_with_a_warning() -> None:
    request = asked(input=[{"role": "user", "content": [{"type": "smell"}, {"type": "input_text", "text": "hi"}]}])
    assert request.requests[0].messages == (Message("user", "hi"),)
    assert len(request.warnings) == 1


@pytest.mark.requirement("A3")
def test_cache_marks_stay() -> None:
    part = {"type": "input_text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    (message,) = chat(input=[{"role": "user", "content": [part]}]).messages
    assert message.content == (Text("hi", {"cache_control": {"type": "ephemeral"}}),)


KINDS = """
reasoning function_call function_call_output custom_tool_call custom_tool_call_output local_shell_call
local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output tool_search_call
tool_search_output computer_call computer_call_output mcp_call mcp_list_tools code_interpreter_call file_search_call
web_search_call image_generation_call compaction additional_tools agent_message item_reference message input_file
input_image input_audio text
"""
FIELDS = """
id call_id name namespace arguments input output action operation summary content encrypted_content code outputs queries
results server_label tools role text filename file_data image_url detail tool_calls
"""
SMALL = st.sampled_from(["", "x", "function", "user", "input_text", "data:,x"]) | st.none() | st.integers(0, 1)
VALUES = st.recursive(
    SMALL,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*FIELDS.split(), "type", "url"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.builds(
            lambda kind, fields: {"type": kind, **fields},
            st.sampled_from(KINDS.split()),
            st.dictionaries(st.sampled_from(FIELDS.split()), VALUES, max_size=6),
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(
            lambda kind, fields: {"type": kind, **fields},
            st.sampled_from(["function", "custom", "namespace", "local_shell", "shell", "tool_search", "mcp", "x"]),
            st.dictionaries(st.sampled_from(["name", "description", "tools", "format", "function", "type"]), VALUES),
        ),
        max_size=3,
    ),
    VALUES,
)
@pytest.mark.requirement("A6")
def test_any_items_and_tools_are_understood_or_refused(items: list[Any], tools: list[Any], choice: Any) -> None:
    wanted = choice if isinstance(choice, str | dict) else None
    try:
        messages = chat(input=[HI, *items], tools=tools, tool_choice=wanted).messages
    except InvalidRequest:
        return
    check_accepted(messages)


@pytest.mark.requirement("A3")
async def test_an_image_in_a_tool_result_reaches_the_model(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    shown = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG, "detail": "low"}]
    body = {"model": "glm", "input": [HI, CALL, {**RESULT, "output": shown}]}
    assert (await client.post("/v1/responses", json=body)).status_code == 200
    [seen] = scripted.calls("glm")
    *_, result, image = seen.json["messages"]
    assert (result["role"], result["content"]) == ("tool", "seen")
    assert image["role"] == "user"
    assert {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}} in image["content"]
