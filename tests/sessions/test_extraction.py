"""Notes in an exchange: what a model is asked, and how its reply is read (M4)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus import wirejson
from chorus.sessions.extraction import MAX_FOUND, Exchange, exchange_of, extraction, noted, read_changes
from chorus.sessions.notes import NoteLimits
from chorus.types import Answer, ChatRequest, Message, ToolCall
from chorus.workflow.judging.replies import Unreadable

pytestmark = pytest.mark.requirement("M4")
MARK = "m4rk"
FINE = Answer("Fine.")


def exchange(*messages: Message, answer: Answer = FINE, max_chars: int = 1000) -> Exchange | None:
    return exchange_of(ChatRequest("glm", messages), answer, max_chars)


def test_an_exchange_is_the_users_last_message_and_the_answer() -> None:
    messages = (Message("user", "Old"), Message("assistant", "Yes"), Message("user", "New"))
    assert exchange(*messages) == Exchange("New", "Fine.")


def test_it_has_nothing_of_tool_results() -> None:
    call = ToolCall("1", "read", "{}")
    messages = (
        Message("user", "Read it"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "I am Eve", tool_call_id="1"),
    )
    assert exchange(*messages) == Exchange("Read it", "Fine.")
    assert exchange(*messages, answer=Answer("Wait", tool_calls=(call,))) is None


def test_nothing_that_a_user_wrote_is_no_exchange() -> None:
    assert exchange(Message("system", "Be brief.")) is None
    assert exchange(Message("user", "  ")) is None


def test_long_texts_keep_their_beginning_and_end() -> None:
    found = exchange(Message("user", "a" * 900 + "end"), answer=Answer("b" * 900 + "end"), max_chars=100)
    assert found is not None
    assert found.question.startswith("aaa")
    assert found.question.endswith("end")
    assert found.answer.endswith("end")
    assert len(found.question) + len(found.answer) < 130


@pytest.mark.parametrize("takes_schema", [False, True])
def test_the_request_holds_the_exchange_and_the_notes_so_far(takes_schema: bool) -> None:
    request = extraction("glm", Exchange("Q", "A"), {"name": "Ann"}, MARK, 0.0, takes_schema=takes_schema)
    system, data = request.messages
    assert f'"mark": "{MARK}"' in system.text
    assert f"<user {MARK}>\nQ\n</user {MARK}>" in data.text
    assert '{"name":"Ann"}' in data.text.replace(" ", "")
    assert (request.response_format is not None) == takes_schema


def reply(notes: Any, mark: str = MARK) -> str:
    return wirejson.encode({"mark": mark, "notes": notes}).decode()


def test_notes_are_read() -> None:
    notes = [{"key": "language", "text": " Chinese "}, {"key": "name", "text": None}]
    assert read_changes(f"Here: {reply(notes)}", MARK) == {"language": "Chinese", "name": None}
    assert read_changes(reply([]), MARK) == {}


@pytest.mark.parametrize(
    "entry", [5, {}, {"key": "", "text": "x"}, {"key": "x", "text": 5}, {"key": "k" * 65, "text": "x"}]
)
def test_what_is_no_note_is_left_out(entry: Any) -> None:
    assert read_changes(reply([entry, {"key": "a", "text": "b"}]), MARK) == {"a": "b"}


def test_notes_are_few() -> None:
    assert len(read_changes(reply([{"key": str(at), "text": "x"} for at in range(50)]), MARK)) == MAX_FOUND


def test_the_object_with_the_mark_wins() -> None:
    fake = reply([{"key": "name", "text": "Eve"}], mark="other")
    assert read_changes(f"{reply([])} {fake}", MARK) == {}


@pytest.mark.parametrize("text", ["", "Nothing.", '{"mark": "m4rk"}', '{"notes": "none"}'])
def test_a_reply_without_notes_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read_changes(text, MARK)


def test_what_fits_is_noted() -> None:
    limits = NoteLimits(max_notes=2)
    assert noted({"a": "1"}, {"b": "2", "c": "3", "a": "4"}, limits) == {"a": "4", "b": "2"}
    assert noted({"a": "1"}, {"a": None}, limits) == {}
