"""The demo judge's verdict: every candidate is checked against what can be worked out, and scored
0 to 10."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chorus.demo.language import similarity
from chorus.demo.manners import is_refusal
from chorus.demo.task import Mark, Task

_REFUSED: Final = 1.5
_UNSPEAKABLE = re.compile(r"\W*[b-df-hj-np-tv-xz]{4,}\W*", re.IGNORECASE)
_SAMPLE: Final = 4000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`choice` is a label; `scores` has one per label."""

    choice: str
    reason: str
    scores: dict[str, float]


def judge(task: Task, candidates: Mapping[str, str]) -> Verdict:
    """Choose the best of the answers, by label.

    Order and labels do not count: of equals the shorter wins, of refusals the longer, which says
    more of what to ask instead.
    """
    say = task.question.say
    if not candidates:
        return Verdict("", say("There was no candidate to choose from.", "没有可供选择的候选答案。"), {})
    marks = {label: _mark(task, label, candidates) for label in candidates}
    scores = {label: score for label, (score, _) in marks.items()}
    is_helpless = max(scores.values()) <= _REFUSED
    length = -1 if is_helpless else 1
    best = min(candidates, key=lambda label: (-scores[label], length * len(candidates[label]), candidates[label]))
    because = marks[best][1]
    reason = say(f"It was chosen because it {because}.", f"选它是因为：{because}。")
    if is_helpless:
        reason = say(
            f"None of the answers really helps; this one {because}.", f"没有一个答案真正有用，这一个{because}。"
        )
    return Verdict(best, reason, scores)


def _mark(task: Task, label: str, candidates: Mapping[str, str]) -> Mark:
    text, say = candidates[label], task.question.say
    if not text.strip():
        return 0.0, say("is empty", "内容为空")
    if is_nonsense(text):
        return 0.5, say("is hardly readable", "几乎读不懂")
    if is_refusal(text):
        return _REFUSED, say("at least says plainly that it cannot help", "至少坦白说明了帮不上忙")
    score, because = task.mark(text)
    # agreement of all others is worth a point: it decides between equals, not against the facts
    agreement = sum(similarity(text, other) for name, other in candidates.items() if name != label)
    return round(min(10.0, score + agreement / max(1, len(candidates) - 1)), 2), because


def is_nonsense(text: str) -> bool:
    """Whether most words of `text`, three at least, are consonants only."""
    words = text[:_SAMPLE].split()
    return len(words) >= 3 and sum(bool(_UNSPEAKABLE.fullmatch(word)) for word in words) > len(words) / 2
