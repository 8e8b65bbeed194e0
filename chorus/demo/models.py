"""The demo models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chorus.demo import abacus, generalist, judge, librarian, moody, scribe
from chorus.demo.manners import cannot, introduction, is_greeting
from chorus.demo.question import Question, question_of
from chorus.demo.script import Script
from chorus.types import ChatRequest

Performer = Callable[[ChatRequest], Script]


def _polite(model: str, skill: Callable[[Question], str]) -> Performer:
    """A model with one skill that also knows how to greet."""

    def perform(request: ChatRequest) -> Script:
        question = question_of(request)
        if is_greeting(question):
            return Script(introduction(model, question))
        return Script(cannot(model, question) if question.has_image else skill(question))

    return perform


_MODELS: Final[dict[str, tuple[str, Performer]]] = {
    "demo-librarian": (
        "Answers questions about Chorus from its own handbook.",
        _polite("demo-librarian", librarian.answer),
    ),
    "demo-abacus": ("Works out arithmetic and shows the steps.", _polite("demo-abacus", abacus.answer)),
    "demo-scribe": (
        "Text operations: reverse, sort, count, change case, summarize.",
        _polite("demo-scribe", scribe.answer),
    ),
    "demo-generalist": (
        "A bit of everything, shorter and less precise.",
        _polite("demo-generalist", generalist.answer),
    ),
    "demo-moody": (
        "Like the generalist; misbehaves on “moody: fail”, “slow”, “hang”, “garbage” or “break”.",
        lambda request: moody.perform(question_of(request)),
    ),
    "demo-judge": (
        "Analyzer, selector and synthesizer: checks the candidates and says what decided.",
        lambda request: Script(judge.answer(request)),
    ),
}

DEMO_MODELS: Final[dict[str, str]] = {name: description for name, (description, _) in _MODELS.items()}
"""Name to one-line description."""


def performer(model: str) -> Performer | None:
    """The model of that name, if there is one; a tag such as `:latest` is ignored."""
    entry = _MODELS.get(model) or _MODELS.get(model.partition(":")[0])
    return entry[1] if entry else None
