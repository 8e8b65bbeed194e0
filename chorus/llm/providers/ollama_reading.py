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
from chorus.llm.reading.endings import check_empty, failed_choice, finish_of, is_error, is_failure
from chorus.llm.reading.error_bodies import error_message
from chorus.llm.reading.lenient import REFUSED, Reader
from chorus.llm.reading.surrogates import Joiner, mend
from chorus.llm.reading.thinking import ThinkSplitter
from chorus.llm.reading.tool_calls import CallPart, extra_of, parts_of, too_many_calls
from chorus.types import Extra, FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as Ollama sends it. One with more fields is read by `_WideLine`."""

    role: JSON = None
    content: JSON = None
    thinking: JSON = None
    tool_calls: JSON = None


_FIELDS: Final = frozenset(_Message.__struct_fields__)


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    response: JSON = None
    thinking: JSON = None
    done: bool = False
    done_reason: JSON = None
    prompt_eval_count: JSON = None
    eval_count: JSON = None
    error: JSON = None
    extra: Extra | None = None
    """Other fields of the message."""


class _WideLine(msgspec.Struct, gc=False):
    message: JSON = None
    response: JSON = None
    thinking: JSON = None
    done: bool = False
    done_reason: JSON = None
    prompt_eval_count: JSON = None
    eval_count: JSON = None
    error: JSON = None


_LINE: Final = Reader(_Line)
_WIDE: Final = Reader(_WideLine)


def _widely(raw: bytes) -> _Line:
    """`raw`, whose message has fields that are not ours, or which the typed decoder cannot read.

    Raises:
        ValueError, RecursionError: it cannot be read at all.
    """
    try:
        wide = _WIDE.strictly(raw)
    except REFUSED:
        wide = _WIDE.leniently(raw)
    line = _Line(**{name: getattr(wide, name) for name in _WideLine.__struct_fields__ if name != "message"})
    if isinstance(fields := wide.message, dict):
        line.message = _Message(*map(fields.get, _Message.__struct_fields__))
        line.extra = extra_of(fields, _FIELDS)
    return line


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
        self._has_said = False
        """Whether anything of the answer was read."""
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
                line = _widely(raw)
        except (ValueError, RecursionError):
            what = "an HTML page" if raw.lstrip()[:1] == b"<" else "a line that is not Ollama's"
            raise UpstreamProtocol(f"Upstream '{self._name}' sent {what}") from None
        if is_error(line.error):
            detail = error_message(line.error)
            raise LLMError(f"Upstream '{self._name}' reported an error in its answer", detail=detail)
        if is_failure(line.done_reason):
            raise failed_choice(self._name, None, line.done_reason)
        message = line.message or _Message(content=line.response, thinking=line.thinking)
        text, thought = self._thinking.feed(self._text.feed(_string(message.content)))
        reasoning = self._reasoning.feed(_string(message.thinking)) + thought
        pieces = tuple(self._pieces(parts_of(message.tool_calls)))
        if text or reasoning or line.extra:
            self._has_said = True
        if not line.done:
            return Chunk(text, reasoning, pieces, extra=line.extra)
        self.done = True
        last, its_thought = self._thinking.feed(self._text.flush())
        more, rest = self._thinking.flush()
        text, reasoning = text + last + more, reasoning + self._reasoning.flush() + its_thought + rest
        finish = self._finish_of(line, is_empty=not (self._has_said or text or reasoning or self._calls))
        return Chunk(text, reasoning, pieces, finish, self._usage_of(line), extra=line.extra)

    def _finish_of(self, line: _Line, *, is_empty: bool) -> FinishReason:
        # servers of old send no reason, and `load` and `unload` say that nothing was asked
        reason = line.done_reason if line.done_reason not in (None, "", "load", "unload") else "stop"
        finish = finish_of(reason)
        if is_empty:
            check_empty(self._name, finish)
        return "tool_calls" if self._calls and finish in (None, "stop") else finish or "stop"

    def _usage_of(self, line: _Line) -> Usage | None:
        """The token counts of the last line; None where it does not tell how long the answer is.

        Ollama leaves the prompt out where it had it in its cache; it is estimated then.
        """
        prompt, answer = count_of(line.prompt_eval_count), count_of(line.eval_count)
        if answer is None:
            return None
        return Usage(prompt if prompt is not None else self._prompt_estimate(), answer, estimated=prompt is None)

    def _pieces(self, parts: list[CallPart]) -> Iterator[ToolPiece]:
        """Whole calls, each in one piece. Ollama's calls have no ids of old; OpenAI's clients need one."""
        for part in parts:
            if not (part.name or part.arguments):
                continue
            index, self._calls = self._calls, self._calls + 1
            if index == MAX_CALLS:
                raise too_many_calls(self._name)
            arguments = mend(part.arguments)[0] if part.arguments.strip() else "{}"
            yield ToolPiece(index, mend(part.id or f"call_{index}")[0], mend(part.name)[0], arguments, part.extra)


def _string(value: JSON) -> str:
    return value if isinstance(value, str) else ""
