"""The answers of an Ollama server: their wire, and how they are read (L2, L5).

Sans I/O: lines in, chunks out. What is not needed of an answer never loses it (see `lenient`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from chorus.errors import LLMError, UpstreamProtocol
from chorus.llm.base import MAX_CALLS, Chunk
from chorus.llm.counts import count_of
from chorus.llm.error_bodies import error_message
from chorus.llm.lenient import REFUSED, Reader, compact
from chorus.llm.surrogates import Joiner, mend
from chorus.llm.think import ThinkSplitter
from chorus.types import FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: JSON = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: JSON = None
    thinking: JSON = None
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    response: JSON = None
    thinking: JSON = None
    done: bool = False
    done_reason: JSON = None
    prompt_eval_count: JSON = None
    eval_count: JSON = None
    error: JSON = None


_LINE: Final = Reader(_Line)


class LineReader:
    """Reads the lines of one reply. It keeps thinking apart, and joins characters that were cut in two."""

    def __init__(self, name: str, *, prompt_estimate: Callable[[], int]) -> None:
        """`name` is the model's, for errors; `prompt_estimate` counts the prompt where the upstream does not."""
        self._name = name
        self._prompt_estimate = prompt_estimate
        self._thinking = ThinkSplitter()
        self._text = Joiner()
        self._reasoning = Joiner()
        self._calls = 0
        self.done = False

    def read(self, raw: bytes) -> Chunk:
        """What one line adds.

        Raises:
            LLMError: it is none of Ollama's, or it reports an error.
        """
        try:
            try:
                line = _LINE.strictly(raw)
            except REFUSED:
                line = _LINE.leniently(raw)
        except (ValueError, RecursionError):
            what = "an HTML page" if raw.lstrip()[:1] == b"<" else "a line that is not Ollama's"
            raise UpstreamProtocol(f"Upstream '{self._name}' sent {what}") from None
        if line.error:
            detail = error_message(line.error)
            raise LLMError(f"Upstream '{self._name}' reported an error in its answer", detail=detail)
        message = line.message or _Message(line.response, line.thinking)
        text, thought = self._thinking.feed(self._text.feed(_string(message.content)))
        reasoning = self._reasoning.feed(_string(message.thinking)) + thought
        pieces = tuple(self._pieces(message.tool_calls or ()))
        if not line.done:
            return Chunk(text, reasoning, pieces)
        self.done = True
        last, its_thought = self._thinking.feed(self._text.flush())
        more, rest = self._thinking.flush()
        finish: FinishReason = "length" if line.done_reason == "length" else "stop"
        return Chunk(
            text + last + more,
            reasoning + self._reasoning.flush() + its_thought + rest,
            pieces,
            "tool_calls" if self._calls else finish,
            self._usage_of(line),
        )

    def _usage_of(self, line: _Line) -> Usage | None:
        """The token counts of the last line; None where it does not tell how long the answer is.

        Ollama leaves the prompt out where it had it in its cache; it is estimated then.
        """
        prompt, answer = count_of(line.prompt_eval_count), count_of(line.eval_count)
        if answer is None:
            return None
        return Usage(prompt if prompt is not None else self._prompt_estimate(), answer, estimated=prompt is None)

    def _pieces(self, calls: list[_ToolCall] | tuple[()]) -> Iterator[ToolPiece]:
        """Whole calls, each in one piece. Ollama's calls have no ids of old; OpenAI's clients need one."""
        for call in calls:
            index, self._calls = self._calls, self._calls + 1
            if index == MAX_CALLS:
                raise UpstreamProtocol(f"Upstream '{self._name}' began more than {MAX_CALLS} tool calls in one answer")
            arguments = call.function.arguments
            text = mend(arguments)[0] if isinstance(arguments, str) else compact(arguments or {})
            yield ToolPiece(index, mend(call.id or f"call_{index}")[0], mend(call.function.name)[0], text)


def _string(value: JSON) -> str:
    return value if isinstance(value, str) else ""
