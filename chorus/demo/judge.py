"""`demo-judge`: analyzer, selector, scorer and synthesizer in one, and a generalist when it is
asked directly."""

from __future__ import annotations

import math
from typing import Final

from chorus import wirejson
from chorus.demo import skills
from chorus.demo.arithmetic import numbers
from chorus.demo.language import containment, sentences
from chorus.demo.manners import is_greeting, is_refusal
from chorus.demo.question import question_of
from chorus.demo.stage import Stage, read
from chorus.demo.task import TEMPERATURES, Task
from chorus.demo.verdict import is_nonsense, judge
from chorus.types import ChatRequest

_RIGHT: Final = 8.0
"""The score from which a candidate has the right result."""
_SAYS_THE_SAME: Final = 0.6
_IS_NEW: Final = 0.5
"""A sentence is new when less than this share of its words stands in the chosen answer already."""
_COUNTS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def answer(request: ChatRequest) -> str:
    """Play the stage that the engine asks for."""
    stage = read(request)
    if stage is None:
        return skills.answer("demo-judge", question_of(request.messages))
    task = skills.task_of(stage.question)
    if stage.role == "synthesizer":
        return _synthesis(task, stage, is_formatted=request.response_format is not None)
    reply = _analysis(task) if stage.role == "analyzer" else _verdict(task, stage)
    return wirejson.encode({"mark": stage.mark, **reply} if stage.mark else reply).decode()


def _analysis(task: Task) -> dict[str, wirejson.JSON]:
    return {"task_type": task.kind, "temperature": TEMPERATURES[task.kind], "difficulty": task.difficulty}


def _verdict(task: Task, stage: Stage) -> dict[str, wirejson.JSON]:
    verdict = judge(task, stage.candidates)
    scores = verdict.scores
    if stage.role == "scorer":
        return {"score": scores.get(verdict.choice, 0.0), "reason": verdict.reason}
    # what was worked out again and is right needs nothing from the others
    is_checked = task.kind in ("arithmetic", "text")
    return {
        "choice": verdict.choice,
        "ranking": sorted(scores, key=lambda label: (label != verdict.choice, -scores[label])),
        "reason": verdict.reason,
        "scores": scores,
        "decisive": is_checked and scores.get(verdict.choice, 0.0) >= _RIGHT,
    }


def _synthesis(task: Task, stage: Stage, *, is_formatted: bool) -> str:
    """Return the chosen text, and in a line or two what the others add. A text with a format of its
    own stays as it is."""
    question, candidates = task.question, stage.candidates
    if not candidates:
        return skills.answer("demo-judge", question)
    label = stage.chosen if stage.chosen in candidates else judge(task, candidates).choice
    chosen = candidates[label]
    if is_formatted or is_greeting(question) or not _is_useful(chosen):
        return chosen
    others = [text for name, text in candidates.items() if name != label and _is_useful(text)]
    parts = [chosen]
    if task.kind in ("documentation", "general") and (addition := _addition(question.text, chosen, others)):
        parts.append(question.say(f"Also: {addition}", f"另外：{addition}"))
    count = sum(_agree(task, chosen, other) for other in others)
    if count == 1:
        parts.append(question.say("Another answer agrees.", "另有一个答案与此一致。"))
    elif count:
        number = _COUNTS[count] if count < len(_COUNTS) else str(count)
        parts.append(question.say(f"{number} other answers agree.", f"另有 {count} 个答案与此一致。"))
    return "\n\n".join(parts)


def _is_useful(text: str) -> bool:
    return bool(text.strip()) and not is_refusal(text) and not is_nonsense(text)


def _agree(task: Task, one: str, other: str) -> bool:
    """Whether two answers say the same: the same result, or mostly the same words."""
    if task.kind == "arithmetic":
        mine, yours = numbers(one), numbers(other)
        return bool(mine and yours) and math.isclose(mine[-1], yours[-1])
    shorter, longer = sorted((one, other), key=len)
    return shorter.strip() in longer or containment(shorter, longer) >= _SAYS_THE_SAME


def _addition(question: str, chosen: str, others: list[str]) -> str:
    """Return the first sentence of another answer that is about the question and new."""
    for sentence in (sentence for other in others for sentence in sentences(other, limit=40)):
        is_new = len(sentence) > 15 and containment(sentence, chosen) < _IS_NEW
        if is_new and containment(question, sentence) > 0.3:
            return sentence
    return ""
