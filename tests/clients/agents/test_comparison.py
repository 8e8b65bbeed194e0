"""The comparison of a client's request with the upstream's finds what is lost, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .comparison import differences, dropped, lost

SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "maxLength": 80}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "write", "arguments": '{"path": "hello.txt"}'}}
GOT = {
    "messages": [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Write."},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "content": "done", "tool_call_id": "call_1"},
    ],
    "tools": [{"type": "function", "function": {"name": "write", "parameters": SCHEMA}}],
    "max_tokens": 9,
}
RESPONSES = {
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"type": "message", "role": "user", "content": "Write."},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "call_1", "name": "write", "arguments": '{"path":"hello.txt"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
    ],
    "tools": [
        {"type": "namespace", "name": "files", "tools": [{"type": "function", "name": "write", "parameters": SCHEMA}]},
        {"type": "web_search"},
    ],
}
MESSAGES = {
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": "Write."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "chorus1.x"},
                {"type": "tool_use", "id": "call_1", "name": "write", "input": {"path": "hello.txt"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]},
    ],
    "tools": [{"name": "write", "input_schema": SCHEMA}],
}


@pytest.mark.parametrize("sent", [RESPONSES, MESSAGES, GOT])
def test_a_conversation_that_arrives_has_no_losses(sent: dict[str, Any]) -> None:
    assert lost(sent, GOT) == []


@pytest.mark.parametrize("sent", [RESPONSES, MESSAGES])
@pytest.mark.parametrize("piece", ["Be brief.", "Write.", "hm", "done", "write", "call_1", "hello.txt"])
def test_every_piece_that_does_not_arrive_is_found(sent: dict[str, Any], piece: str) -> None:
    assert lost(sent, without(GOT, piece)) != []


def test_a_schema_that_arrives_in_part_is_found() -> None:
    tools = [{"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}]
    assert "tools: the schema of write" in lost(RESPONSES, {**GOT, "tools": tools})


def without(value: Any, piece: str) -> Any:
    """Return `value` with `piece` taken out of all its strings."""
    if isinstance(value, dict):
        return {key: without(inner, piece) for key, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, piece) for inner in value]
    return value.replace(piece, "…") if isinstance(value, str) else value


def test_differences_name_their_paths() -> None:
    sent = {"messages": [{"role": "user", "content": "Hi", "name": "ann"}], "seed": 7, "stop": ["x"]}
    got = {"messages": [{"role": "user", "content": "Hi"}], "seed": 8, "stop": ["x", "y"], "stream_options": {}}
    found = differences(sent, got)
    assert [each.partition(":")[0] for each in found] == [".messages[0].name", ".seed", ".stop"]


def test_the_empty_content_of_a_turn_with_calls_may_be_null() -> None:
    assert differences({"content": ""}, {"content": None}) == []
    assert differences({"content": "Hi"}, {"content": None}) != []


def test_a_field_arrives_under_its_name_or_is_named_in_the_warning() -> None:
    sent = {
        "model": "glm",
        "input": "Hi",
        "max_output_tokens": 9,
        "truncation": "auto",
        "text": {"verbosity": "low"},
        "reasoning": {"summary": "auto", "effort": None},
        "user": None,
        "top_k": 4,
    }
    assert dropped(sent, GOT, "Left out: truncation.") == ["text.verbosity", "top_k"]


def test_a_default_may_be_left_out() -> None:
    assert differences({"n": 1, "stream": False}, {}) == []
    assert [each.partition(":")[0] for each in differences({"n": 2, "stream": True}, {})] == [".n", ".stream"]
    assert dropped({"n": 1, "options": {}, "think": True}, {"reasoning_effort": "medium"}, "") == []
    assert dropped({"n": 2, "options": {"num_ctx": 5}, "think": True}, {}, "") == ["n", "options.num_ctx", "think"]
