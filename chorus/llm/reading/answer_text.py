"""The text and the reasoning of a streamed answer, made whole. Pure."""

from __future__ import annotations

from chorus.llm.reading.surrogates import Joiner
from chorus.llm.reading.thinking import ThinkSplitter


class AnswerText:
    """Joins characters that were cut in two, and keeps thinking that stands in the text apart from
    it."""

    def __init__(self) -> None:
        self._thinking: ThinkSplitter | None = ThinkSplitter()
        """None once the answer has begun: nothing is held back any more."""
        self._text = Joiner()
        self._reasoning = Joiner()

    @property
    def is_plain(self) -> bool:
        """Whether text goes out as it comes: the answer has begun, and no half of a character is
        held."""
        return self._thinking is None and not self._text.held

    def feed(self, text: str, reasoning: str) -> tuple[str, str]:
        """Return the text and the reasoning that a piece of an answer adds."""
        reasoning = self._reasoning.feed(reasoning)
        text = self._text.feed(text)
        if text and self._thinking is not None:
            text, thought = self._thinking.feed(text)
            reasoning += thought
            if text:
                self._thinking = None
        return text, reasoning

    def flush(self) -> tuple[str, str]:
        """Return the text and the reasoning that were held back when the answer ended."""
        text, reasoning = self._text.flush(), self._reasoning.flush()
        if self._thinking is None:
            return text, reasoning
        text, thought = self._thinking.feed(text)
        more, rest = self._thinking.flush()
        return text + more, reasoning + thought + rest
