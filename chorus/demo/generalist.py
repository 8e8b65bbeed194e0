"""`demo-generalist`: a bit of everything, shorter and less precise than the specialists."""

from __future__ import annotations

from fractions import Fraction

from chorus.demo.abacus import no_result
from chorus.demo.arithmetic import NotComputable, is_exact, shown
from chorus.demo.expression import Result
from chorus.demo.language import central, sentences
from chorus.demo.manners import cannot, introduction, is_greeting
from chorus.demo.question import Question
from chorus.demo.task import task_of


def answer(question: Question, *, model: str = "demo-generalist") -> str:
    """A short answer by whichever skill fits."""
    if is_greeting(question):
        return introduction(model, question)
    task = task_of(question)
    if task.calculation is not None:
        return _result(question, *task.calculation)
    if task.section is not None:
        return sentences(task.section.body)[0]
    if task.done is not None:
        return central(task.done.subject, 1)[0] if "summary" in task.done.operations else task.done.result
    return cannot(model, question)


def _result(question: Question, expression: str, outcome: Result | NotComputable) -> str:
    if not isinstance(outcome, Result):
        return no_result(question, expression, outcome)
    if is_exact(outcome.value):
        return question.say(f"{outcome}.", f"{outcome}。")
    value = outcome.value
    rough = shown(value if -0.01 < value < 0.01 else Fraction(round(100 * value), 100))
    return question.say(f"About {rough}.", f"大约 {rough}。")
