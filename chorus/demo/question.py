"""A request as a demo model reads it: the question, its language, and the directive to
`demo-moody`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chorus.demo.language import is_chinese
from chorus.types import ChatRequest, Message

_LONGEST: Final = 20_000
_MOOD = re.compile(r"\(?\bmoody\s*[:：]\s*(fail|slow|hang|garbage|break)\b\)?[.,;。，；]?", re.IGNORECASE)
_BEFORE_SUBJECT = re.compile(r"[:：\"“「\n]")


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `text` is without the directive to the moody model, which is no part of the
    question."""

    text: str
    mood: str = ""
    has_image: bool = False

    @property
    def in_chinese(self) -> bool:
        """Whether to answer in Chinese. The words of the question decide, not the text it is
        about."""
        instruction = _BEFORE_SUBJECT.split(self.text, maxsplit=1)[0]
        return is_chinese(instruction if len(instruction) > 3 else self.text)

    def say(self, english: str, chinese: str) -> str:
        """The one of two sentences that is in the question's language."""
        return chinese if self.in_chinese else english


def read(text: str, *, has_image: bool = False) -> Question:
    """The question in `text`; a text far longer than any question is cut."""
    mood = _MOOD.search(text)
    cleaned = _MOOD.sub(" ", text[:_LONGEST]).strip() if mood else text[:_LONGEST].strip()
    return Question(cleaned, mood[1].lower() if mood else "", has_image)


def question_of(request: ChatRequest) -> Question:
    """The question of a request: its last user turn."""
    return last_question(request.messages)


def last_question(messages: tuple[Message, ...]) -> Question:
    """The question of a conversation. What the engine puts behind it for a further layer of workers
    is none."""
    turns = (message for message in reversed(messages) if message.role == "user")
    turn = next((message for message in turns if not message.text.startswith("[Chorus refiner]")), None)
    if turn is None:
        return Question("")
    return read(turn.text, has_image=not isinstance(turn.content, str) and len(turn.text) < 1)
