"""`demo-abacus`: works out the arithmetic in a question and shows the steps."""

from __future__ import annotations

from typing import Final

from chorus.demo.arithmetic import NotComputable, is_exact
from chorus.demo.expression import Result
from chorus.demo.manners import cannot
from chorus.demo.question import Question
from chorus.demo.wording import find

_MOST_STEPS: Final = 6


def answer(question: Question) -> str:
    """The result with its steps, or why there is none."""
    calculation = find(question.text)
    if calculation is None:
        return cannot("demo-abacus", question)
    expression, outcome = calculation
    if not isinstance(outcome, Result):
        return no_result(question, expression, outcome)
    steps = list(outcome.steps)
    if len(steps) == 1:
        return steps[0]
    if len(steps) > _MOST_STEPS:
        steps[_MOST_STEPS - 1 : -1] = ["…"]
    about = "" if is_exact(outcome.value) else question.say("about ", "约为 ")
    return question.say(
        f"Step by step: {'; '.join(steps)}.\nThe result is {about}{outcome}.",
        f"分步计算：{'；'.join(steps)}。\n结果是{about or ' '}{outcome}。",
    )


def no_result(question: Question, expression: str, problem: NotComputable) -> str:
    """Say that an expression has no value, and why."""
    return question.say(f"{expression} has no result I can give: {problem}.", f"{expression} 算不出结果。")
