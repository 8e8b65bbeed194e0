"""A request as a demo model reads it: the question, its language, and the mood that it asks of
`demo-moody`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chorus.demo.language import is_chinese
from chorus.types import Message

_LONGEST: Final = 20_000
"""Characters of a question that are read."""
_MOOD = re.compile(r"\(?\bmoody\s*[:：]\s*(fail|slow|hang|garbage|break)\b\)?[.,;。，；]?", re.IGNORECASE)
_BEFORE_SUBJECT = re.compile(r"[:：\"“「\n]")


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `text` is without the words for the moody model, `mood` is what they say.
    `is_image` when there is a picture and no text."""

    text: str
    mood: str = ""
    is_image: bool = False

    @property
    def in_chinese(self) -> bool:
        """Whether to answer in Chinese. The words of the question decide, not the text it is
        about."""
        instruction = _BEFORE_SUBJECT.split(self.text, maxsplit=1)[0]
        return is_chinese(instruction if len(instruction) > 3 else self.text)

    def say(self, english: str, chinese: str) -> str:
        """Return the one of two sentences that is in the question's language."""
        return chinese if self.in_chinese else english


def question_of(messages: Sequence[Message]) -> Question:
    """Return the question of a conversation: its last user turn. What the engine puts behind it for
    a second layer of workers is none."""
    turns = (message for message in reversed(messages) if message.role == "user")
    turn = next((message for message in turns if not message.text.startswith("[Chorus refiner]")), None)
    if turn is None:
        return Question("")
    return read(turn.text, is_image=not turn.text and not isinstance(turn.content, str))


def read(text: str, *, is_image: bool = False) -> Question:
    """Return the question in `text`."""
    text = text[:_LONGEST]
    mood = _MOOD.search(text)
    return Question(_MOOD.sub(" ", text).strip(), mood[1].lower() if mood else "", is_image)
