"""Turns, budgets and marks as agents send them, which the real API would refuse."""

from __future__ import annotations

import pytest

from chorus.types import Image, Message, Sampling, Text, ToolCall, Tools
from tests.llm.providers.anthropic.test_request import CALL, RESULT, SIGNED, blocks
from tests.llm.providers.anthropic.writing import HOW, asking, function, written


@pytest.mark.parametrize(
    ("given", "length", "sent"),
    [(5000, 8000, 5000), (16_000, 8000, 6400), (8000, 8000, 6400), (100, 8000, 1024), (16_000, 1000, None)],
)
def test_a_budget_of_thinking_leaves_room_for_the_answer(given: int, length: int, sent: int | None) -> None:
    """qwen-code asks for 16,000 tokens of thinking in an answer of 8,000."""
    own = {"thinking": {"type": "enabled", "budget_tokens": given}}
    body, warnings = written(asking(sampling=Sampling(max_tokens=length), anthropic_options=own))
    assert body.get("thinking", {}).get("budget_tokens") == sent
    assert bool(warnings) == (sent != given)


def test_thinking_that_is_configured_goes_by_the_rules_as_well() -> None:
    """A client's temperature gives way to it, and it to a turn of tools that lost its thoughts."""
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body, [warning] = written(asking(sampling=Sampling(temperature=0.2)), thinking=thinking)
    assert (body["thinking"], "temperature" in body) == (thinking, False)
    assert "temperature" in warning
    tool_turn = (HOW, Message("assistant", "", tool_calls=(CALL,)), RESULT)
    assert "thinking" not in written(asking(*tool_turn), thinking=thinking)[0]


def test_a_mark_of_a_turn_that_only_thinks_is_left_out() -> None:
    turn = Message("assistant", "", "I look.", extra={**SIGNED, "cache_control": {"type": "ephemeral"}})
    assert all("cache_control" not in block for block in blocks(written(asking(HOW, turn, HOW))[0], 1))


def test_marks_hold_as_long_as_those_behind_them() -> None:
    long = {"type": "ephemeral", "ttl": "1h"}
    asked = asking(Message("system", "Be brief."), Message("user", (Text("How?", {"cache_control": long}),)))
    body, _ = written(asked, caches=True)
    assert body["system"][0]["cache_control"] == long


def test_a_result_that_comes_late_stands_behind_its_call() -> None:
    """A user who speaks while a tool runs stands in between."""
    body, warnings = written(
        asking(HOW, Message("assistant", "", tool_calls=(CALL,)), Message("user", "Faster!"), RESULT)
    )
    result, text = blocks(body, 2)
    assert (result["type"], text["text"]) == ("tool_result", "Faster!")
    assert not warnings


def test_calls_in_several_messages_keep_their_results() -> None:
    other = ToolCall("call_2", "time", "{}")
    calls = (Message("assistant", "", tool_calls=(CALL,)), Message("assistant", "", tool_calls=(other,)))
    body, _ = written(asking(HOW, *calls, RESULT, Message("tool", "noon", tool_call_id="call_2")))
    assert [blocks(body, place)[0]["content"] for place in (2, 4)] == ["rain", "noon"]


def test_an_image_of_a_system_message_is_a_users() -> None:
    body, [warning] = written(asking(Message("system", (Text("See:"), Image("data:image/png;base64,AAAA"))), HOW))
    assert body["system"] == [{"type": "text", "text": "See:"}]
    assert [block["type"] for block in blocks(body, 0)] == ["image", "text"]
    assert "texts only" in warning


def test_a_turn_of_several_messages_begins_with_its_thoughts_or_has_none() -> None:
    """Two messages of an assistant become one turn, which begins with the first of them."""
    said, turn = Message("assistant", "Hm."), Message("assistant", "", "I look.", (CALL,), extra=SIGNED)
    body, _ = written(asking(HOW, said, turn, RESULT, reasoning_effort="low", tools=Tools([function()])))
    assert "thinking" not in body
