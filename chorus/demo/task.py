"""What kind of question it is: the analyzer's judgement, and how the generalist picks a skill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from chorus.demo import instruction
from chorus.demo.expression import Result
from chorus.demo.librarian import look_up
from chorus.demo.manners import is_greeting
from chorus.demo.question import Question
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
    kind: Kind
    difficulty: Difficulty


def task_of(question: Question) -> Task:
    """The kind of a question, and how hard it is: by the steps of a calculation, else by its
    words, two characters of Chinese each."""
    kind = _kind(question)
    calculation = find(question.text) if kind == "arithmetic" else None
    if calculation is not None:
        steps = len(calculation[1].steps) if isinstance(calculation[1], Result) else 2
        return Task(kind, _graded(steps, 2, 5))
    return Task(kind, _graded(len(question.text) // 2 if question.in_chinese else len(question.text.split()), 10, 50))


def _kind(question: Question) -> Kind:
    if is_greeting(question):
        return "general"
    operation = instruction.read(question.text)
    if operation is not None and operation.is_explicit:
        return "text"
    if find(question.text) is not None:
        return "arithmetic"
    hits = look_up(question)
    if operation is not None and len(operation.subject.split()) <= _WORD:
        return "text"
    if hits and (operation is None or hits[0].coverage >= _SURE or "chorus" in question.text.lower()):
        return "documentation"
    return "text" if operation is not None else "general"


def _graded(amount: int, medium: int, hard: int) -> Difficulty:
    return "easy" if amount < medium else "medium" if amount < hard else "hard"
