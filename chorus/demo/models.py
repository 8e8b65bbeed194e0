"""The demo models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chorus.demo import abacus, generalist, judge, librarian, moody, scribe
from chorus.demo.manners import cannot, introduction, is_greeting
from chorus.demo.question import Question, question_of
from chorus.demo.script import Script
from chorus.types import ChatRequest

_SKILLS: Final[dict[str, tuple[str, Callable[[Question], str]]]] = {
    "demo-librarian": ("Answers questions about Chorus from its own handbook.", librarian.answer),
    "demo-abacus": ("Works out arithmetic and shows the steps.", abacus.answer),
    "demo-scribe": ("Text operations: reverse, sort, count, change case, summarize.", scribe.answer),
    "demo-generalist": ("A bit of everything, shorter and less precise.", generalist.answer),
}
_MOODY: Final = "demo-moody"
_JUDGE: Final = "demo-judge"

DEMO_MODELS: Final[dict[str, str]] = {
    **{name: description for name, (description, _) in _SKILLS.items()},
    _MOODY: "Like the generalist; misbehaves on “moody: fail”, “slow”, “hang”, “garbage” or “break”.",
    _JUDGE: "Analyzer, selector and synthesizer: checks the candidates and says what decided.",
}
"""Name to one-line description."""


def perform(model: str, request: ChatRequest) -> Script | None:
    """What the model of that name does with a request; None where there is none. A tag such as
    `:latest` is ignored."""
    name = model if model in DEMO_MODELS else model.partition(":")[0]
    if name == _MOODY:
        return moody.perform(question_of(request))
    if name == _JUDGE:
        return Script(judge.answer(request))
    if name not in _SKILLS:
        return None
    question = question_of(request)
    if is_greeting(question):
        return Script(introduction(name, question))
    return Script(cannot(name, question) if question.has_image else _SKILLS[name][1](question))
