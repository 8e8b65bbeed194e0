"""`demo-abacus`: works out the arithmetic in a question and shows the steps."""

from __future__ import annotations

from typing import Final

from chorus.demo.arithmetic import NotComputable, is_exact
from chorus.demo.expression import Result
from chorus.demo.manners import cannot
from chorus.demo.question import Question
from chorus.demo.wording import find

_MOST_STEPS: Final = 6
_IN_CHINESE: Final = {"division by zero": "除数不能为零", "the number is too large": "数字太大"}


def answer(question: Question) -> str:
    """The result with its steps, or why there is none."""
    calculation = find(question.text)
    if calculation is None:
        return cannot("demo-abacus", question)
    expression, outcome = calculation
    if not isinstance(outcome, Result):
        return no_result(question, expression, outcome)
    if len(outcome.steps) == 1:
        return outcome.steps[0]
    about = "" if is_exact(outcome.value) else question.say("about ", "约为 ")
    return "\n".join(
        (
            question.say("Step by step: ", "分步计算：") + _steps(outcome.steps, question),
            question.say(f"The result is {about}{outcome}.", f"结果是{about or ' '}{outcome}。"),
        )
    )


def no_result(question: Question, expression: str, problem: NotComputable) -> str:
    """Say that an expression has no value, and why."""
    reason = _IN_CHINESE.get(str(problem), "超出了实数或计算的范围")
    return question.say(f"{expression} has no result I can give: {problem}.", f"{expression} 算不出结果：{reason}。")


def _steps(steps: tuple[str, ...], question: Question) -> str:
    listed = steps if len(steps) <= _MOST_STEPS else (*steps[: _MOST_STEPS - 1], "…", steps[-1])
    return question.say("; ".join(listed) + ".", "；".join(listed) + "。")
