"""Who knows what: the specialists, and the generalist that tries all their skills."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from chorus.demo import abacus, librarian, scribe
from chorus.demo.language import containment
from chorus.demo.manners import introduction, is_greeting, refusal
from chorus.demo.question import Question
from chorus.demo.task import Mark, Task

SPECIALISTS: Final[dict[str, Callable[[Question], Task | None]]] = {
    "demo-librarian": librarian.task,
    "demo-abacus": abacus.task,
    "demo-scribe": scribe.task,
}


def answer(model: str, question: Question) -> str:
    """Return what a model says to a question: a specialist by its skill, any other by the skill
    that fits, in fewer words."""
    if is_greeting(question):
        return introduction(model, question)
    if model in SPECIALISTS:
        task = SPECIALISTS[model](question)
        said = task.answer if task else ""
    else:
        said = task_of(question).short
    return said or refusal(model, question)


def task_of(question: Question) -> Task:
    """Return what a question asks for. An operation on a text comes first, since the text may hold
    anything; the handbook comes last, since it has something on nearly everything."""
    if not is_greeting(question):
        for skill in (scribe.task, abacus.task, librarian.task):
            if task := skill(question):
                return task
    return Task("general", question, partial(_mark, question))


def _mark(question: Question, text: str) -> Mark:
    """Compare an answer with the question, for want of anything better."""
    is_long = len(text.split()) > 8 or question.in_chinese
    return 4.0 + 3.0 * containment(question.text, text) + is_long, question.say(
        "says most about what was asked", "与问题最相关"
    )
