"""Tokens of an answer as its text, its thinking and its tool calls. Pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from chorus.llm.base import Chunk
from chorus.llm.filters.stop_words import StopCutter
from chorus.llm.reading.thinking import ThinkSplitter
from chorus.types import FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_THINK_OPEN = "<think>"


class ToolMarkers:
    """How a model writes tool calls: between two marks, in a text that `parse` reads."""

    def __init__(self, start: str, end: str, parse: Callable[[str, Any], Any]) -> None:
        self.start = start
        self.end = end
        """Empty where the answer's end is the mark."""
        self.parse = parse


class AnswerReader:
    """Reads the tokens of one answer."""

    def __init__(
        self,
        detokenizer: Any,
        *,
        prompt_tokens: int,
        continues: tuple[int, str] | None,
        is_thinking: bool,
        stops: Sequence[str],
        tools: Sequence[JSON] | None,
        markers: ToolMarkers | None,
    ) -> None:
        """Begin an answer that may call `tools`; None: what looks like a call is text.

        `continues` is the last token of a text that the answer continues, and that token's text:
        detokenizers drop a space at the beginning of a text.
        """
        self._detokenizer = detokenizer
        self._before = ""
        """What of the text to continue the detokenizer still holds."""
        if continues is not None:
            number, self._before = continues
            detokenizer.add_token(number)
        self._thinking = ThinkSplitter()
        if is_thinking:
            self._thinking.feed(_THINK_OPEN)
        self._calls = _CallReader(markers, tools) if markers is not None and tools else None
        self._cutter = StopCutter(stops) if stops else None
        self._prompt_tokens = prompt_tokens
        self._count = 0

    def take(self, token: int) -> Chunk | None:
        """Return what a token adds.

        None where that is nothing yet. The last chunk has a finish reason: at a stop word nothing
        more is read.
        """
        self._count += 1
        self._detokenizer.add_token(token)
        return self._read(self._detokenizer.last_segment)

    def finish(self, token: int, reason: str) -> Chunk:
        """Return the last chunk of an answer that ends with `token`."""
        self._count += 1
        if reason != "stop":
            self._detokenizer.add_token(token)
        self._detokenizer.finalize()
        chunk = self._read(self._detokenizer.last_segment) or Chunk()
        if chunk.finish_reason is not None:
            return chunk
        rest, thought = self._thinking.flush()
        text, calls = self._calls.end(rest) if self._calls is not None else (rest, ())
        if self._cutter is not None:
            text = self._cutter.feed(text) + self._cutter.flush()
        has_calls = bool(calls) or (self._calls is not None and self._calls.count > 0)
        finish: FinishReason = "length" if reason == "length" else "tool_calls" if has_calls else "stop"
        return Chunk(
            chunk.text + text,
            chunk.reasoning + thought,
            (*chunk.tool_calls, *calls),
            finish,
            self._usage(),
        )

    def _read(self, text: str) -> Chunk | None:
        calls: tuple[ToolPiece, ...] = ()
        if self._before and text:
            text, self._before = text.removeprefix(self._before), self._before.removeprefix(text)
        text, thought = self._thinking.feed(text)
        if text and self._calls is not None:
            text, calls = self._calls.feed(text)
        if text and self._cutter is not None:
            text = self._cutter.feed(text)
            if self._cutter.stopped:
                return Chunk(text, thought, calls, "stop", self._usage())
        return Chunk(text, thought, calls) if text or thought or calls else None

    def _usage(self) -> Usage:
        return Usage(self._prompt_tokens, self._count)


class _CallReader:
    """Finds the tool calls in a text."""

    def __init__(self, markers: ToolMarkers, tools: Sequence[JSON]) -> None:
        self._markers = markers
        self._tools = tools
        self._held = ""
        self._inside = False
        self.count = 0

    def feed(self, text: str) -> tuple[str, tuple[ToolPiece, ...]]:
        """Return the text beside the calls, and the calls that are whole by now."""
        shown, pieces = "", []
        held = self._held + text
        self._held = ""
        while held:
            mark = self._markers.end if self._inside else self._markers.start
            before, found, held = held.partition(mark) if mark else (held, "", "")
            if not found:
                keep = len(before) if self._inside else _beginning(before, mark)
                self._held = before[len(before) - keep :]
                shown += before[: len(before) - keep]
            elif self._inside:
                more, made = self._parsed(before)
                shown += more
                pieces += made
                self._inside = False
            else:
                shown += before
                self._inside = True
        return shown, tuple(pieces)

    def end(self, text: str) -> tuple[str, tuple[ToolPiece, ...]]:
        """Return what is left when the answer has ended with `text`."""
        shown, pieces = self.feed(text)
        held, self._held = self._held, ""
        if not self._inside:
            return shown + held, pieces
        more, made = self._parsed(held)
        return shown + more, (*pieces, *made)

    def _parsed(self, text: str) -> tuple[str, list[ToolPiece]]:
        """Return the calls in `text`, or the text as the model wrote it where it holds none."""
        try:
            parsed = self._markers.parse(text, self._tools)
            calls = parsed if isinstance(parsed, list) else [parsed]
            pieces = [self._piece(call) for call in calls]
        except Exception:  # each parser of mlx-lm raises errors of its own
            return f"{self._markers.start}{text}{self._markers.end}", []
        self.count += len(pieces)
        return "", pieces

    def _piece(self, call: Any) -> ToolPiece:
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        index = self.count
        return ToolPiece(index, f"call_{secrets.token_hex(12)}", str(call["name"]), text)


def _beginning(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `mark`."""
    longest = min(len(mark) - 1, len(text))
    return next((count for count in range(longest, 0, -1) if text.endswith(mark[:count])), 0)
