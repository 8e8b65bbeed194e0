"""How a prompt shows the notes on a user: behind the client's system prompt, as data (M4)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import process_secret
from chorus.sessions.prompt import notes_text, with_text
from chorus.types import ChatRequest, Message

pytestmark = pytest.mark.requirement("M4")
SYSTEM, DEVELOPER = Message("system", "Be brief."), Message("developer", "Be exact.")
QUESTION = Message("user", "Hello")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


def test_notes_stand_behind_the_clients_system_prompt() -> None:
    request = with_text(ChatRequest("glm", (SYSTEM, DEVELOPER, QUESTION, SYSTEM)), "notes")
    assert request.messages == (SYSTEM, DEVELOPER, Message("system", "notes"), QUESTION, SYSTEM)


def test_the_text_is_the_same_from_request_to_request() -> None:
    assert notes_text({"a": "1", "b": "2"}) == notes_text({"b": "2", "a": "1"})


def test_the_mark_is_another_with_another_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    before = notes_text({"a": "1"})
    monkeypatch.setattr(process_secret, "_SECRET", b"k" * 32)
    assert notes_text({"a": "1"}) != before


@given(st.dictionaries(TEXT.filter(bool), TEXT, min_size=1, max_size=5))
def test_no_note_can_close_its_block(notes: dict[str, str]) -> None:
    _, mark, *lines, last = notes_text(notes).split("\n")
    assert mark == last
    assert len(lines) == len(notes)
    assert not any(mark in line for line in lines)


def raw(**fields: object) -> ChatRequest:
    request = ChatRequest("glm", (QUESTION,), prompt="Hello")
    return with_text(msgspec.structs.replace(request, **fields), "notes")


def test_a_raw_prompt_has_the_notes_before_it() -> None:
    request = raw()
    assert request.prompt == "notes\n\nHello"
    assert request.messages == (Message("system", "notes"), QUESTION)


def test_a_template_gets_the_notes_in_its_system_text() -> None:
    assert raw(generate_options={"template": "T", "system": "S"}).generate_options["system"] == "S\n\nnotes"
    assert raw(generate_options={"template": "T"}).generate_options["system"] == "notes"


@pytest.mark.parametrize("fields", [{"suffix": "end"}, {"echo": True}, {"generate_options": {"raw": True}}])
def test_a_prompt_that_the_client_has_put_together_stays_as_it_is(fields: dict[str, object]) -> None:
    assert raw(**fields).prompt == "Hello"


def test_token_numbers_stay_as_they_are() -> None:
    assert raw(prompt=(1, 2, 3)).prompt == (1, 2, 3)
