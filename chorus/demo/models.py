"""The demo models by name, and how each performs: `demo-moody` may fail, wait or break off."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from chorus.demo import judge, skills
from chorus.demo.question import Question, question_of
from chorus.types import ChatRequest

_MOODY: Final = "demo-moody"
_JUDGE: Final = "demo-judge"
DEMO_MODELS: Final = (*skills.SPECIALISTS, "demo-generalist", _MOODY, _JUDGE)
_SLOW_SECS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Script:
    """How an answer is performed: `text`, after `wait` seconds. "broken" fails in the middle of it,
    "failed" before it, both with the error `failure`; "never" waits for ever."""

    text: str = ""
    wait: float = 0.0
    ending: Literal["whole", "broken", "failed", "never"] = "whole"
    failure: str = ""


def perform(model: str, request: ChatRequest) -> Script | None:
    """Return what the model of that name does with a request; None where there is none. A tag such
    as `:latest` is ignored."""
    name = model if model in DEMO_MODELS else model.partition(":")[0]
    if name not in DEMO_MODELS:
        return None
    if name == _JUDGE:
        return Script(judge.answer(request))
    question = question_of(request.messages)
    return _moody(question) if name == _MOODY else Script(skills.answer(name, question))


def _moody(question: Question) -> Script:
    """Answer as the generalist does, in the mood that the question asks for."""
    match question.mood:
        case "fail":
            return Script(ending="failed", failure=f"The demo model '{_MOODY}' was told to fail")
        case "hang":
            return Script(ending="never")
        case "garbage":
            return Script(_garbage(question.text))
    text = skills.answer(_MOODY, question)
    if question.mood == "break":
        return Script(text, ending="broken", failure=f"The demo model '{_MOODY}' was told to break off in mid-answer")
    return Script(text, wait=_SLOW_SECS if question.mood == "slow" else 0.0)


def _garbage(seed: str) -> str:
    """Return nonsense, the same for the same question."""
    rng = random.Random(seed)
    return " ".join("#" * rng.randint(0, 1) + "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=7)) for _ in range(14))
