"""Tokens of mlx-lm as text, thinking and tool calls, whatever pieces they come in (I1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from chorus.inference.engines.mlx.answer import AnswerReader, ToolMarkers
from chorus.llm.base import Chunk

pytestmark = pytest.mark.requirement("I1")

MARKERS = ToolMarkers("<tool_call>", "</tool_call>", lambda text, tools: json.loads(text))
TOOLS = [{"type": "function", "function": {"name": "now"}}]
END = -1


class Detokenizer:
    """Tokens are places in a list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self.last_segment = ""

    def add_token(self, token: int) -> None:
        self.last_segment = self._texts[token]

    def finalize(self) -> None:
        self.last_segment = ""


def read(texts: Sequence[str], reason: str = "stop", **options: Any) -> list[Chunk]:
    """The chunks of an answer of these tokens and an end."""
    given: dict[str, Any] = {
        "prompt_tokens": 3,
        "continues": None,
        "is_thinking": False,
        "stops": (),
        "tools": None,
        "markers": None,
    }
    reader = AnswerReader(Detokenizer(texts), **{**given, **options})
    chunks = []
    for number in range(len(texts)):
        if (chunk := reader.take(number)) is not None:
            chunks.append(chunk)
            if chunk.finish_reason is not None:
                return chunks
    return [*chunks, reader.finish(END, reason)]


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


CALL = 'Wait. <tool_call>{"name": "now", "arguments": {"zone": "utc"}}</tool_call> Done.'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_call_is_found_whatever_the_pieces(size: int) -> None:
    chunks = read([CALL[at : at + size] for at in range(0, len(CALL), size)], tools=TOOLS, markers=MARKERS)
    [piece] = [piece for chunk in chunks for piece in chunk.tool_calls]
    assert (piece.index, piece.name, json.loads(piece.arguments)) == (0, "now", {"zone": "utc"})
    assert text_of(chunks) == "Wait.  Done."
    assert chunks[-1].finish_reason == "tool_calls"


def test_a_call_that_is_none_is_text() -> None:
    broken = "<tool_call>{now}</tool_call>"
    chunks = read(list(broken), tools=TOOLS, markers=MARKERS)
    assert text_of(chunks) == broken
    assert chunks[-1].finish_reason == "stop"


def test_without_tools_nothing_is_a_call() -> None:
    chunks = read([CALL], markers=MARKERS)
    assert text_of(chunks) == CALL


def test_a_call_may_end_with_the_answer() -> None:
    markers = ToolMarkers("[CALL]", "", MARKERS.parse)
    chunks = read(list('[CALL]{"name": "now"}'), tools=TOOLS, markers=markers)
    assert [piece.name for chunk in chunks for piece in chunk.tool_calls] == ["now"]
    assert text_of(chunks) == ""


def test_thinking_that_the_template_has_opened() -> None:
    chunks = read(["Hm", ".</th", "ink>", "Yes"], is_thinking=True)
    assert "".join(chunk.reasoning for chunk in chunks) == "Hm."
    assert text_of(chunks) == "Yes"


def test_a_stop_word_ends_the_answer_with_its_usage() -> None:
    chunks = read(["one", " t", "wo", " three"], stops=("two",))
    assert text_of(chunks) == "one "
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_what_a_stop_word_held_back_comes_at_the_end() -> None:
    chunks = read(["one", " t"], stops=("two",))
    assert text_of(chunks) == "one t"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 3)
