"""`demo-moody`: a generalist that misbehaves on request, to show how Chorus copes."""

from __future__ import annotations

import random
from typing import Final

from chorus.demo import generalist
from chorus.demo.question import Question
from chorus.demo.script import Script

SLOW_SECS: Final = 5.0


def perform(question: Question) -> Script:
    """The generalist's answer in the mood asked for (`moody: fail`, `slow`, `hang`, `garbage`,
    `break`)."""
    match question.mood:
        case "fail":
            return Script(failure="The demo model 'demo-moody' was told to fail")
        case "hang":
            return Script(ending="never")
        case "garbage":
            return Script(garbage(question.text))
    text = generalist.answer(question, model="demo-moody")
    if question.mood == "break":
        return Script(text, ending="broken", failure="The demo model 'demo-moody' was told to break off in mid-answer")
    return Script(text, wait=SLOW_SECS if question.mood == "slow" else 0.0)


def garbage(seed: str) -> str:
    """Nonsense, the same for the same question."""
    rng = random.Random(seed)
    return " ".join("#" * rng.randint(0, 1) + "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=7)) for _ in range(14))
