"""Messages that go on as they came are those that the provider would have written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import encoded_messages, wirejson
from chorus.encoded_messages import EncodedMessages
from chorus.errors import InvalidRequest
from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.openai_request import request_body
from chorus.llm.providers.traits import Traits
from chorus.server.dialects.ollama.chat import OllamaChat
from chorus.server.dialects.openai.chat import OpenAIChat
from chorus.telemetry import kept_requests
from chorus.types import ChatRequest, Message

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
USUAL: list[dict[str, Any]] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Wie spät? 现在几点?\n\"'\u2028"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "noon", "tool_call_id": "c"},
    {"role": "assistant", "content": "Noon.", "tool_calls": [{**CALL, "id": "d"}]},
    {"role": "tool", "content": [{"type": "text", "text": "one"}], "tool_call_id": "d"},
    {"role": "user", "content": [{"type": "text", "text": "And here?"}, PICTURE]},
    {"role": "assistant", "content": ""},
]
PLAIN = Traits()
ODD: dict[str, dict[str, Any]] = {
    "another field": {"role": "user", "content": "a", "name": "b"},
    "reasoning": {"role": "assistant", "content": "a", "reasoning_content": "b"},
    "a mark in a part": {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]},
    "a part of another kind": {"role": "user", "content": [{"type": "file", "file": {}}]},
    "a part that is a text": {"role": "user", "content": ["a"]},
    "an image as a text": {"role": "user", "content": [{"type": "image_url", "image_url": "u"}]},
    "no parts": {"role": "user", "content": []},
    "no content": {"role": "assistant", "tool_calls": [CALL]},
    "nothing": {"role": "assistant", "content": None},
    "null in a field": {"role": "user", "content": "a", "tool_calls": None},
    "no calls": {"role": "assistant", "content": "a", "tool_calls": []},
    "a call without a type": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "function": CALL["function"]}],
    },
    "a call without an id": {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": ""}]},
    "an index": {"role": "assistant", "content": None, "tool_calls": [{**CALL, "index": 0}]},
    "arguments as an object": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
    },
    "empty arguments": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}],
    },
    "a result without its call": {"role": "tool", "content": "a"},
    "the id of a call in a question": {"role": "user", "content": "a", "tool_call_id": "c"},
    "an old role": {"role": "function", "name": "f", "content": "a"},
    "a number": {"role": "user", "content": 1},
}


def read(messages: Any) -> EncodedMessages | None:
    return encoded_messages.read(msgspec.Raw(json.dumps(messages).encode()))


def sent(messages: tuple[Message, ...], traits: Traits) -> Any:
    """The messages in the body for an OpenAI-compatible upstream, decoded."""
    body = request_body(ChatRequest("m", messages), "m", traits, stream=False, warn=pytest.fail)
    return msgspec.json.decode(wirejson.encode_upstream(body))["messages"]


def test_usual_messages_are_read_as_the_dialects_read_them() -> None:
    messages = read(USUAL)
    assert messages is not None
    body = {"model": "m", "messages": USUAL}
    assert OpenAIChat().parse(body).requests[0].messages == messages


@pytest.mark.parametrize("dialect", [OpenAIChat(), OllamaChat()], ids=["openai", "ollama"])
def test_a_dialect_takes_them_as_they_are(dialect: OpenAIChat | OllamaChat) -> None:
    messages = read(USUAL)
    assert dialect.parse({"model": "m", "messages": messages}).requests[0].messages is messages


def test_they_are_sent_as_they_came() -> None:
    raw = json.dumps(USUAL, indent=1).encode()
    messages = encoded_messages.read(msgspec.Raw(raw))
    assert messages is not None
    body = request_body(ChatRequest("m", messages), "m", Traits(), stream=False, warn=pytest.fail)
    assert raw in wirejson.encode_upstream(body)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_messages_with_anything_else_are_written_again(odd: dict[str, Any]) -> None:
    assert read([*USUAL, odd]) is None
    assert read([odd]) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", "null", '[{"role":"user","content":"\\ud800"}]', "[" * 9999])
def test_what_is_no_conversation_is_left_to_the_careful_reading(text: str) -> None:
    assert encoded_messages.read(msgspec.Raw(text.encode())) is None


@pytest.mark.parametrize(
    ("given", "traits"),
    [
        ([USUAL[1], USUAL[0]], Traits(system="first")),
        ([{"role": "developer", "content": "Be short."}, USUAL[1]], Traits(developer=False)),
        ([*USUAL[:3], {"role": "tool", "content": [PICTURE], "tool_call_id": "c"}], Traits()),
    ],
    ids=["a late system message", "a developer", "an image of a tool"],
)
def test_messages_that_a_model_needs_arranged_are_arranged(given: list[Any], traits: Traits) -> None:
    messages = read(given)
    assert messages is not None
    plain = tuple(messages)
    assert arranged(messages, traits) == arranged(plain, traits) != plain
    assert sent(messages, traits) == sent(plain, traits)


SAID = encoded_messages.of_texts([Message("user", "How?"), Message("assistant", "So.")])


@pytest.mark.parametrize(
    "later",
    [(Message("user", "And?"),), read(USUAL), (Message("tool", "noon"),), (Message("user", ""),), ()],
    ids=["a text", "encoded", "a result without its call", "an empty text", "nothing"],
)
def test_what_is_put_in_a_row_is_encoded_only_where_it_can_be_read_again(later: tuple[Message, ...]) -> None:
    messages = encoded_messages.in_a_row(SAID, later)
    assert messages == (*SAID, *later)
    if isinstance(messages, EncodedMessages):
        assert encoded_messages.read(messages.encoded) == messages
    else:
        assert later[0].role == "tool" or not later[0].content
    [kept] = kept_requests.decoded(kept_requests.encoded([kept_requests.packed(ChatRequest("m", messages))]))
    assert kept.messages == messages


def test_more_messages_than_are_read_again_are_not_encoded() -> None:
    many = encoded_messages.of_texts([Message("user", "How?")] * 9_999)
    assert encoded_messages.read(many.encoded) == many
    assert not isinstance(encoded_messages.in_a_row(SAID, many), EncodedMessages)


TEXTS = st.text(max_size=5)
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXTS})}),
    st.just(PICTURE),
)
CALLS = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}),
    }
)
MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        "content": st.none() | TEXTS | st.lists(PARTS, max_size=3),
    },
    optional={
        "tool_calls": st.none() | st.lists(CALLS, max_size=2),
        "tool_call_id": st.none() | TEXTS,
        "name": TEXTS,
    },
)


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_whatever_comes_is_sent_as_if_it_were_written_again(given: list[dict[str, Any]]) -> None:
    messages = read(given)
    if messages is None:
        return
    try:
        [request] = OpenAIChat().parse({"model": "m", "messages": given}).requests
    except InvalidRequest:
        pytest.fail("the careful reading refuses it")
    assert messages == request.messages
    assert sent(messages, PLAIN) == sent(tuple(messages), PLAIN)
    if arranged(messages, PLAIN) is messages:  # no late system message, no image of a tool
        assert sent(messages, PLAIN) == given
