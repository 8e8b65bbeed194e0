"""Read the answers of an Ollama server (L2, L5).

Sans I/O: lines in, chunks out. What is not needed of an answer never loses it (see `lenient`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from chorus.errors import LLMError, UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.reading.answer_text import AnswerText
from chorus.llm.reading.endings import (
    check_empty,
    failed_choice,
    final_finish,
    finish_of,
    is_error,
    is_failure,
    page_or,
)
from chorus.llm.reading.error_bodies import error_message
from chorus.llm.reading.lenient import REFUSED, Reader, string_of
from chorus.llm.reading.tool_calls import extra_of, parts_of, whole_calls
from chorus.llm.reading.usage import usage_of
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


class _LineFields(msgspec.Struct, gc=False):
    """What a line holds beside its message."""

    response: JSON = None
    thinking: JSON = None
    done: bool = False
    done_reason: JSON = None
    prompt_eval_count: JSON = None
    eval_count: JSON = None
    error: JSON = None


class _Line(_LineFields, gc=False):
    message: _Message | None = None
    extra: Extra | None = None
    """Other fields of the message."""


class _WideLine(_LineFields, gc=False):
    message: JSON = None


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
    line = _Line(*[getattr(wide, name) for name in _LineFields.__struct_fields__])
    if isinstance(fields := wide.message, dict):
        line.message = _Message(*map(fields.get, _Message.__struct_fields__))
        line.extra = extra_of(fields, _FIELDS)
    return line


class LineReader:
    """Reads the lines of one reply.

    It keeps thinking apart, and joins characters that were cut in two.
    """

    def __init__(self, name: str, *, prompt_estimate: Callable[[], int]) -> None:
        """`name` is the model's, for errors.

        `prompt_estimate` counts the prompt where the upstream does not.
        """
        self._name = name
        self._prompt_estimate = prompt_estimate
        self._text = AnswerText()
        self._calls = 0
        self._has_said = False
        """Whether anything of the answer was read."""
        self.done = False

    def read(self, raw: bytes) -> Chunk:
        """Return what one line adds.

        Raises:
            LLMError: it is none of Ollama's, or it reports an error.
        """
        try:
            try:
                line = _LINE.strictly(raw)
            except REFUSED:
                line = _widely(raw)
        except (ValueError, RecursionError):
            what = page_or(raw, "a line that is not Ollama's")
            raise UpstreamProtocol(f"Upstream '{self._name}' sent {what}") from None
        if is_error(line.error):
            detail = error_message(line.error)
            raise LLMError(f"Upstream '{self._name}' reported an error in its answer", detail=detail)
        if is_failure(line.done_reason):
            raise failed_choice(self._name, None, line.done_reason)
        message = line.message or _Message(content=line.response, thinking=line.thinking)
        text, reasoning = self._text.feed(string_of(message.content), string_of(message.thinking))
        pieces: tuple[ToolPiece, ...] = ()
        if message.tool_calls:
            parts = [part for part in parts_of(message.tool_calls) if part.name or part.arguments]
            pieces = whole_calls(parts, self._name, before=self._calls)
            self._calls += len(pieces)
        if text or reasoning or line.extra:
            self._has_said = True
        if not line.done:
            return Chunk(text, reasoning, pieces, extra=line.extra)
        self.done = True
        last_text, last_reasoning = self._text.flush()
        text, reasoning = text + last_text, reasoning + last_reasoning
        finish = self._finish_of(line, is_empty=not (self._has_said or text or reasoning or self._calls))
        return Chunk(text, reasoning, pieces, finish, self._usage_of(line), extra=line.extra)

    def _finish_of(self, line: _Line, *, is_empty: bool) -> FinishReason:
        # servers of old send no reason, and `load` and `unload` say that nothing was asked
        reason = line.done_reason if line.done_reason not in (None, "", "load", "unload") else "stop"
        finish = finish_of(reason)
        if is_empty:
            check_empty(self._name, finish)
        return final_finish(finish, has_calls=self._calls > 0)

    def _usage_of(self, line: _Line) -> Usage | None:
        """Return the token counts of the last line.

        None where it does not tell how long the answer is.

        Ollama leaves the prompt out where it had it in its cache; it is estimated then.
        """
        counts: dict[str, JSON] = {
            "prompt_tokens": line.prompt_eval_count,
            "completion_tokens": line.eval_count,
        }
        return usage_of(counts, self._prompt_estimate)
