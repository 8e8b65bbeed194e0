"""The history in front of a request: whole turns, system messages kept, never more than the window
(M3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.sessions.history import joined, message_tokens, room_for, trimmed, turns_of
from chorus.types import ChatRequest, Image, Message, Sampling, Text, ToolCall

SYSTEM = Message("system", "Be brief.")
CALL = Message("assistant", "", "", (ToolCall("c1", "look", "{}"),))
RESULT = Message("tool", "found", tool_call_id="c1")


def turn(number: int) -> list[Message]:
    return [Message("user", f"question {number}"), Message("assistant", f"answer {number}")]


def tokens(messages: Sequence[Message]) -> int:
    return sum(map(message_tokens, messages))


def test_without_a_window_everything_is_kept() -> None:
    history = [SYSTEM, *turn(1), *turn(2)]
    result = joined(history, [Message("user", "and now?")], None)
    assert result.messages == (*history, Message("user", "and now?"))
    assert result.dropped_turns == 0


def test_the_oldest_turns_go_first_and_system_messages_stay() -> None:
    request = [Message("user", "and now?")]
    room = tokens([SYSTEM, *turn(2), *request])
    result = joined([SYSTEM, *turn(1), *turn(2)], request, room)
    assert result.messages == (SYSTEM, *turn(2), *request)
    assert result.dropped_turns == 1


def test_a_tools_result_goes_with_its_call() -> None:
    history = [Message("user", "look"), CALL, RESULT, Message("assistant", "there it is")]
    request = [Message("user", "thanks")]
    for room in range(tokens(request), tokens([*history, *request]) + 1):
        messages = joined(history, request, room).messages
        assert (CALL in messages) == (RESULT in messages)


def test_the_systems_of_the_request_take_the_place_of_the_stored_ones() -> None:
    other = Message("system", "Be long.")
    messages = joined([SYSTEM, *turn(1)], [other, Message("user", "now")], None).messages
    assert messages == (other, *turn(1), Message("user", "now"))


def test_a_result_in_the_request_keeps_the_turn_of_its_call() -> None:
    history = [*turn(1), Message("user", "look"), CALL]
    result = joined(history, [RESULT], 1)
    assert result.messages == (Message("user", "look"), CALL, RESULT)
    assert result.dropped_turns == 1


def test_a_conversation_that_holds_its_request_is_cut_before_the_last_turn() -> None:
    other = Message("developer", "Be long.")
    messages = [SYSTEM, *turn(1), other, *turn(2), Message("user", "and now?")]
    assert trimmed(messages, None).messages == tuple(messages)
    assert trimmed(messages, tokens(messages)).messages == tuple(messages)
    assert trimmed(messages, tokens(messages) - 1).messages == (SYSTEM, other, *turn(2), Message("user", "and now?"))
    assert trimmed(messages, 0).messages == (SYSTEM, other, Message("user", "and now?"))


def test_the_answer_has_its_part_of_the_window() -> None:
    request = ChatRequest("m", ())
    assert room_for(0, request) is None
    assert room_for(8000, request) == 6000
    assert room_for(8000, ChatRequest("m", (), Sampling(max_tokens=1000))) == 7000
    assert room_for(8000, ChatRequest("m", (), Sampling(max_tokens=9000))) == 4000


@pytest.mark.parametrize("room", [-5, 0, 1])
def test_the_request_is_never_cut(room: int) -> None:
    request = [Message("user", "a long question " * 50)]
    result = joined([*turn(1), *turn(2)], request, room)
    assert result.messages == tuple(request)
    assert result.dropped_turns == 2


MESSAGES: Any = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=20)), max_size=12
)


@given(MESSAGES, MESSAGES, st.none() | st.integers(-10, 300))
def test_what_is_kept_is_a_whole_end_of_the_conversation(
    history: list[Message], request: list[Message], room: int | None
) -> None:
    result = joined(history, request, room)
    spoken = [message for message in history if message.role != "system"]
    systems = [message for message in result.messages if message.role == "system"]
    assert len(turns_of(spoken)) >= result.dropped_turns
    kept = [message for turn in turns_of(spoken)[result.dropped_turns :] for message in turn]
    without_systems = [message for message in result.messages if message.role != "system"]
    assert without_systems == kept + [message for message in request if message.role != "system"]
    goes_on = next((message.role for message in request if message.role != "system"), "") == "tool"
    assert room is None or not kept or goes_on or tokens(result.messages) <= room
    assert len(systems) <= len(result.messages)


def test_an_image_takes_room() -> None:
    seen = [Message("user", (Text("what?"), Image("data:image/png;base64,AAAA"))), Message("assistant", "a bird")]
    request = [Message("user", "and now?")]
    assert joined(seen, request, 500).dropped_turns == 1
    assert joined(seen, request, 2000).dropped_turns == 0
