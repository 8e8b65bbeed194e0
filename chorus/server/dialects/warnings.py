"""The warnings of one request: what of it is left out or converted."""

from __future__ import annotations

from typing import Final

_MOST: Final = 20
"""Sentences kept for one request: the header that shows them holds about ten."""


class Warnings:
    """Collects our own sentences, each of them once. They name fields and kinds that we know, never
    the client's text."""

    def __init__(self) -> None:
        self._sentences: dict[str, bool] = {}

    def add(self, sentence: str, *, of_chat: bool = False) -> None:
        """Keep `sentence`, unless there are too many.

        `of_chat`: it does not hold for a model behind the Responses API.
        """
        if len(self._sentences) < _MOST:
            self._sentences[sentence] = of_chat

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences in the order of their first occurrence."""
        return tuple(self._sentences)

    @property
    def of_chat(self) -> frozenset[str]:
        """The sentences that do not hold for a model behind the Responses API."""
        return frozenset(sentence for sentence, of_chat in self._sentences.items() if of_chat)
