"""What kind of question it is: the analyzer's judgement, and how the generalist picks a skill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from chorus.demo import instruction
from chorus.demo.arithmetic import NotComputable
from chorus.demo.expression import Result
from chorus.demo.handbook import Section
from chorus.demo.librarian import look_up
from chorus.demo.manners import is_greeting
from chorus.demo.question import Question
from chorus.demo.scribe import Done, perform
from chorus.demo.wording import find
from chorus.types import Difficulty

Kind = Literal["arithmetic", "documentation", "text", "general"]

TEMPERATURES: Final[dict[Kind, float]] = {"arithmetic": 0.0, "documentation": 0.3, "text": 0.2, "general": 1.0}
"""What the analyzer suggests: one right answer leaves no room, an open question does."""
_SURE: Final = 0.75
_WORD: Final = 2
"""So few words are what shall be worked on, even where one of them is `chorus`."""


@dataclass(frozen=True, slots=True)
class Task:
    """A question with what its answer is worked out from: that of its kind is there, the others
    may be None."""

    kind: Kind
    question: Question
    calculation: tuple[str, Result | NotComputable] | None = None
    section: Section | None = None
    done: Done | None = None

    @property
    def difficulty(self) -> Difficulty:
        """How hard it is: by the steps of a calculation, else by its words, two characters of
        Chinese each."""
        text = self.question.text
        if self.calculation is not None:
            outcome = self.calculation[1]
            return _graded(len(outcome.steps) if isinstance(outcome, Result) else 2, 2, 5)
        return _graded(len(text) // 2 if self.question.in_chinese else len(text.split()), 10, 50)


def task_of(question: Question) -> Task:
    """What a question asks for."""
    if is_greeting(question):
        return Task("general", question)
    operation = instruction.read(question.text)
    if operation is None or not operation.is_explicit:
        if (calculation := find(question.text)) is not None:
            return Task("arithmetic", question, calculation=calculation)
        hits = look_up(question)
        is_word = operation is not None and len(operation.subject.split()) <= _WORD
        is_about_us = operation is None or "chorus" in question.text.lower()
        if hits and not is_word and (is_about_us or hits[0].coverage >= _SURE):
            return Task("documentation", question, section=hits[0].section)
    if operation is None:
        return Task("general", question)
    return Task("text", question, done=perform(question))


def _graded(amount: int, medium: int, hard: int) -> Difficulty:
    return "easy" if amount < medium else "medium" if amount < hard else "hard"
