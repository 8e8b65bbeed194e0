"""Separate the reasoning that a model writes into its answer (L5)."""

from __future__ import annotations

from typing import Final

_OPEN, _CLOSE = "<think>", "</think>"

MAX_LEAD: Final = 1024
"""Characters of blank space before a `<think>` that still opens the answer. Held text is looked at
again with each piece: without a bound, a stream of blanks would cost its length squared."""


class ThinkSplitter:
    """Splits a streamed text into `(answer, reasoning)`.

    Only a `<think>` block that opens the answer counts: later ones are the model talking about the
    tag. Text is held back only while it may still be the beginning of a tag; any split of the input
    gives the same two texts.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> tuple[str, str]:
        """Return the answer and the reasoning that `text` adds."""
        if self._state == "answer" or not text:
            return text, ""
        held = self._held + text
        self._held = ""
        if self._state == "start":
            begun = held.lstrip()
            if len(held) - len(begun) > MAX_LEAD:
                self._state = "answer"
                return held, ""
            if not begun or (len(begun) < len(_OPEN) and _OPEN.startswith(begun)):
                self._held = held
                return "", ""
            if not begun.startswith(_OPEN):
                self._state = "answer"
                return held, ""
            self._state = "thinking"
            held = begun[len(_OPEN) :]
        if self._state == "thinking":
            thought, closed, held = held.partition(_CLOSE)
            if not closed:
                keep = _overlap(thought, _CLOSE)
                self._held = thought[len(thought) - keep :]
                return "", thought[: len(thought) - keep]
            self._state = "after"
            answer, _ = self._after(held)
            return answer, thought
        return self._after(held)

    def _after(self, held: str) -> tuple[str, str]:
        """Blank lines between the thought and the answer belong to neither."""
        answer = held.lstrip()
        if answer:
            self._state = "answer"
        return answer, ""

    def flush(self) -> tuple[str, str]:
        """Return what was held back when the text ended."""
        held, self._held = self._held, ""
        return ("", held) if self._state == "thinking" else (held, "")


def split_thinking(text: str) -> tuple[str, str]:
    """`(answer, reasoning)` of a whole text."""
    splitter = ThinkSplitter()
    answer, thought = splitter.feed(text)
    more, rest = splitter.flush()
    return answer + more, thought + rest


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `tag`."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)
