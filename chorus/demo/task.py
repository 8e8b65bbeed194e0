"""A question that one of the skills can work on, with all that is made of it: the specialist's
answer, the generalist's, and the judge's measure for the answers of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from chorus.demo.question import Question
from chorus.types import Difficulty

Kind = Literal["arithmetic", "documentation", "text", "general"]
Mark = tuple[float, str]
"""A score, 0 to 10, and what earned it, as the end of "It was chosen because it ..."."""

TEMPERATURES: Final[dict[Kind, float]] = {"arithmetic": 0.0, "documentation": 0.3, "text": 0.2, "general": 1.0}
"""What the analyzer suggests: one right answer leaves no room, an open question does."""


@dataclass(frozen=True, slots=True)
class Task:
    """`answer` is the specialist's, `short` the generalist's; both are empty where no skill fits.
    `mark` says what an answer of somebody else is worth. `steps` are those of a calculation."""

    kind: Kind
    question: Question
    mark: Callable[[str], Mark]
    answer: str = ""
    short: str = ""
    steps: int = 0

    @property
    def difficulty(self) -> Difficulty:
        """How hard it is: by the steps of a calculation, else by its words, two characters of
        Chinese each."""
        text = self.question.text
        words = len(text) // 2 if self.question.in_chinese else len(text.split())
        amount, medium, hard = (self.steps, 2, 5) if self.kind == "arithmetic" else (words, 10, 50)
        return "easy" if amount < medium else "medium" if amount < hard else "hard"
