"""`demo-generalist`: a bit of everything, shorter and less precise than the specialists."""

from __future__ import annotations

from typing import Final

from chorus.demo import scribe
from chorus.demo.abacus import no_result
from chorus.demo.arithmetic import as_float, is_exact
from chorus.demo.expression import Result
from chorus.demo.language import central, sentences
from chorus.demo.librarian import look_up
from chorus.demo.manners import cannot, introduction, is_greeting
from chorus.demo.question import Question
from chorus.demo.task import task_of
from chorus.demo.wording import find

_LARGEST_ROUNDED: Final = 10**9


def answer(question: Question, *, model: str = "demo-generalist") -> str:
    """A short answer by whichever skill fits."""
    if is_greeting(question):
        return introduction(model, question)
    match task_of(question).kind:
        case "arithmetic":
            return _calculate(question)
        case "text":
            return _rewrite(question) or cannot(model, question)
        case "documentation":
            return _first_sentence(look_up(question)[0].section.body)
    return cannot(model, question)


def _calculate(question: Question) -> str:
    calculation = find(question.text)
    if calculation is None:
        return ""
    expression, outcome = calculation
    if not isinstance(outcome, Result):
        return no_result(question, expression, outcome)
    if is_exact(outcome.value):
        return question.say(f"{outcome}.", f"{outcome}。")
    is_ordinary = 0.01 <= outcome.value < _LARGEST_ROUNDED or -_LARGEST_ROUNDED < outcome.value <= -0.01
    rough = f"{as_float(outcome.value):.2f}" if is_ordinary else str(outcome)
    return question.say(f"About {rough}.", f"大约 {rough}。")


def _rewrite(question: Question) -> str:
    done = scribe.perform(question)
    if done is None:
        return ""
    if "summary" in done.instruction.operations:
        return central(done.instruction.subject, 1)[0]
    return done.result


def _first_sentence(body: str) -> str:
    return sentences(body)[0]
