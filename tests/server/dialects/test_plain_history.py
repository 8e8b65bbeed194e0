"""Stored histories and answers of texts only are read and written the short way: with the same
result as the long one (M3).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.events import Delta, RunFinished
from chorus.server.api.conversation_items import stored_item
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.responses.exchanges import history_messages, input_items, output_items
from chorus.server.dialects.responses.fields import ResponsesBody, ResponsesOptions
from chorus.server.dialects.responses.plain_history import finished_messages, plain_messages
from chorus.server.dialects.responses.stream import response_of
from chorus.server.dialects.responses.tools import ToolTable
from chorus.types import Answer, Message
from chorus.usage import Usage

pytestmark = pytest.mark.requirement("M3")

UNIQUE = "0123456789abcdef01234567"
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(["system", "developer", "user", "assistant"]), TEXT), max_size=8)


def encoded(items: list[dict[str, Any]]) -> tuple[list[Any], bytes]:
    stored = [msgspec.json.decode(stored_item(item).value) for item in items]
    return stored, msgspec.json.encode(stored)


@given(MESSAGES)
def test_messages_of_texts_are_read_as_the_careful_way_does(messages: list[Message]) -> None:
    items, text = encoded(input_items(messages))
    assert plain_messages(text) == history_messages(items)


@given(MESSAGES)
def test_finished_messages_are_those_or_left_to_them(messages: list[Message]) -> None:
    items, text = encoded(input_items(messages))
    are_plain = all(message.role in ("user", "assistant") and message.text for message in messages)
    assert finished_messages(text) == (history_messages(items) if are_plain else None)


def test_an_answer_that_was_cut_is_not_finished() -> None:
    items = input_items([Message("user", "Hello"), Message("assistant", "Hel")])
    assert finished_messages(encoded(items)[1]) is not None
    items[1]["status"] = "incomplete"
    assert finished_messages(encoded(items)[1]) is None


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "reasoning", "summary": []},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": "a", "name": "ann"},
        {"role": "tool", "content": "a", "tool_call_id": "c"},
        {"role": "assistant", "content": "a", "reasoning_content": "why"},
    ],
)
def test_more_than_a_text_is_left_to_the_careful_way(item: dict[str, Any]) -> None:
    _, text = encoded([{"role": "user", "content": "Hello"}, item])
    assert plain_messages(text) is None
    assert finished_messages(text) is None


@pytest.mark.parametrize("text", ["", "four", "好🙂\nline"])
def test_an_answer_of_a_text_is_the_item_that_its_stream_would_have(text: str) -> None:
    over = RunFinished(0.0, (Answer(text),), Usage())
    options = ResponsesOptions(ResponsesBody("glm"), ToolTable(()))
    context = ResponseContext(f"resp_{UNIQUE}", "", 0.0, ParsedRequest("glm", (), options), "openai")
    careful = response_of(context, (Delta((), 0.0, text, choice=0), over))["output"]
    assert output_items([over], "glm", UNIQUE) == careful
