"""The conversation as providers take it: one leading system message, text in tool messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.traits import Traits
from chorus.types import Image, Message, Opaque, Role, Text

FIRST = Traits()
ANYWHERE = Traits(system="anywhere", developer=True)
PNG = Image("data:image/png;base64,AAAA")
MARK = {"cache_control": {"type": "ephemeral"}}


def roles(messages: list[Message]) -> list[str]:
    return [message.role for message in messages]


def of(*turns: tuple[Role, str]) -> list[Message]:
    return [Message(role, text) for role, text in turns]


CONVERSATIONS = {
    "a system turn in the middle": of(("system", "A"), ("user", "hi"), ("system", "B"), ("user", "go")),
    "several leading ones": of(("system", "A"), ("developer", "B"), ("user", "hi"), ("user", "go")),
    "only at the end": of(("user", "hi"), ("user", "go"), ("system", "A"), ("developer", "B")),
    "a worker's own before the client's": of(("system", "A"), ("system", "B"), ("user", "hi"), ("user", "go")),
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_system_messages_become_one_in_the_first_place(messages: list[Message]) -> None:
    assert arranged(messages, FIRST) == of(("system", "A\n\nB"), ("user", "hi"), ("user", "go"))


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_provider_that_takes_them_anywhere_gets_them_as_they_are(messages: list[Message]) -> None:
    assert arranged(messages, ANYWHERE) == messages


def test_a_developer_is_a_system_where_the_role_is_not_known() -> None:
    messages = of(("developer", "A"), ("user", "hi"), ("developer", "B"))
    assert roles(list(arranged(messages, replace(ANYWHERE, developer=False)))) == ["system", "user", "system"]
    assert roles(list(arranged(messages[:2], FIRST))) == ["system", "user"]


def test_a_conversation_without_a_system_message_gets_none() -> None:
    messages = of(("user", "hi"), ("assistant", "ho"))
    assert arranged(messages, FIRST) is messages


def test_parts_with_extra_fields_stay_parts() -> None:
    marked = Message("system", (Text("long", MARK),), extra={"x": 1})
    [system, user] = arranged([marked, Message("user", "hi"), Message("developer", "short")], FIRST)
    assert system == Message("system", (Text("long", MARK), Text("\n\nshort")), extra={"x": 1})
    assert user.text == "hi"


_TURNS = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "developer", "user", "assistant"]),
        st.text("abc", min_size=1) | st.lists(st.builds(Text, st.text("abc", min_size=1)), min_size=1).map(tuple),
    )
)


@given(_TURNS)
def test_no_text_is_lost_and_none_changes_its_order(turns: list[Message]) -> None:
    arrangement = list(arranged(turns, FIRST))
    systems = [each for each in turns if each.role in ("system", "developer")]
    others = [each for each in turns if each.role not in ("system", "developer")]
    assert arrangement[bool(systems) :] == others
    if systems:
        assert arrangement[0].role == "system"
        assert arrangement[0].text == "\n\n".join(each.text for each in systems)


def result(call: str, *parts: Text | Image | Opaque) -> Message:
    return Message("tool", tuple(parts), tool_call_id=call)


def test_images_of_tool_results_follow_all_results_of_the_turn() -> None:
    messages = [
        Message("user", "look"),
        Message("assistant", ""),
        result("c1", Text("one"), PNG),
        result("c2", PNG),
        result("c3", Text("three")),
        Message("assistant", "I see."),
    ]
    arrangement = list(arranged(messages, FIRST))
    assert roles(arrangement) == ["user", "assistant", "tool", "tool", "tool", "user", "assistant"]
    assert [each.content for each in arrangement[2:5]] == [
        "one",
        "The result is in the user message that follows.",
        (Text("three"),),
    ]
    follower = arrangement[5].content
    assert [part for part in follower if part == PNG] == [PNG, PNG]
    assert "c1" in arrangement[5].text
    assert "c2" in arrangement[5].text


def test_a_user_message_behind_the_results_takes_the_images_in() -> None:
    arrangement = list(arranged([result("c1", PNG), Message("user", "What is it?")], FIRST))
    assert roles(arrangement) == ["tool", "user"]
    assert arrangement[1].content[1:] == (PNG, Text("What is it?"))


def test_files_of_the_last_results_have_a_message_of_their_own() -> None:
    file = Opaque({"type": "file", "file": {"file_id": "f1"}})
    arrangement = list(arranged([result("c1", Text("see", MARK), file)], FIRST))
    assert roles(arrangement) == ["tool", "user"]
    assert arrangement[0].content == (Text("see", MARK),)
    assert file in arrangement[1].content
