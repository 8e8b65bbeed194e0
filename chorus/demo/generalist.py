"""`demo-generalist`: a bit of everything, shorter and less precise than the specialists."""

from __future__ import annotations

from fractions import Fraction

from chorus.demo import scribe
from chorus.demo.abacus import no_result
from chorus.demo.arithmetic import NotComputable, is_exact, shown
from chorus.demo.expression import Result
from chorus.demo.language import central, sentences
from chorus.demo.librarian import look_up
from chorus.demo.manners import cannot, introduction, is_greeting
from chorus.demo.question import Question
from chorus.demo.task import task_of
from chorus.demo.wording import find


def answer(question: Question, *, model: str = "demo-generalist") -> str:
    """A short answer by whichever skill fits."""
    if is_greeting(question):
        return introduction(model, question)
    match task_of(question).kind:
        case "arithmetic" if calculation := find(question.text):
            return _result(question, *calculation)
        case "text" if done := scribe.perform(question):
            return central(done.subject, 1)[0] if "summary" in done.operations else done.result
        case "documentation":
            return sentences(look_up(question)[0].section.body)[0]
    return cannot(model, question)


def _result(question: Question, expression: str, outcome: Result | NotComputable) -> str:
    if not isinstance(outcome, Result):
        return no_result(question, expression, outcome)
    if is_exact(outcome.value):
        return question.say(f"{outcome}.", f"{outcome}。")
    value = outcome.value
    rough = shown(value if -0.01 < value < 0.01 else Fraction(round(100 * value), 100))
    return question.say(f"About {rough}.", f"大约 {rough}。")
