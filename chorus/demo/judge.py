"""`demo-judge`: analyzer, selector and synthesizer in one, and a generalist when it is asked
directly."""

from __future__ import annotations

import math
from typing import Final

from chorus import wirejson
from chorus.demo import generalist, quality
from chorus.demo.language import containment, sentences, similarity
from chorus.demo.manners import is_greeting, is_refusal
from chorus.demo.question import Question, question_of
from chorus.demo.stage import Stage, read
from chorus.demo.task import TEMPERATURES, Kind, Task, task_of
from chorus.demo.verdict import Verdict, judge
from chorus.types import ChatRequest

_SAYS_THE_SAME: Final = 0.6
_RIGHT: Final = 8.0
"""The score from which a candidate has the right result."""
_IS_NEW: Final = 0.5
"""A sentence is new when less than this share of its words stands in the chosen answer already."""
_COUNTS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def answer(request: ChatRequest) -> str:
    """Play the stage the engine asks for."""
    stage = read(request)
    if stage is None:
        return generalist.answer(question_of(request), model="demo-judge")
    task = task_of(stage.question)
    if stage.role == "synthesizer":
        return _synthesize(task, stage, is_formatted=request.response_format is not None)
    if stage.role == "analyzer":
        reply: dict[str, wirejson.JSON] = {
            "task_type": task.kind,
            "temperature": TEMPERATURES[task.kind],
            "difficulty": task.difficulty,
        }
    elif stage.role == "selector":
        reply = _selection(task, judge(task, stage.candidates))
    else:
        verdict = judge(task, stage.candidates)
        reply = {"score": next(iter(verdict.scores.values()), 0.0), "reason": verdict.reason}
    return wirejson.encode({"mark": stage.mark, **reply} if stage.mark else reply).decode()


def _selection(task: Task, verdict: Verdict) -> dict[str, wirejson.JSON]:
    scores = verdict.scores
    # what was worked out again and is right needs nothing from the others
    is_checked = task.kind in ("arithmetic", "text")
    return {
        "choice": verdict.choice,
        "ranking": sorted(scores, key=lambda label: (label != verdict.choice, -scores[label])),
        "reason": verdict.reason,
        "scores": scores,
        "decisive": is_checked and scores.get(verdict.choice, 0.0) >= _RIGHT,
    }


def _synthesize(task: Task, stage: Stage, *, is_formatted: bool) -> str:
    """The chosen text, and in a line or two what the others add. A text with a format of its own
    stays as it is."""
    question, texts = task.question, {candidate.label: candidate.text for candidate in stage.candidates}
    if not texts:
        return generalist.answer(question, model="demo-judge")
    chosen = texts.pop(stage.chosen if stage.chosen in texts else judge(task, stage.candidates).choice)
    if is_formatted or is_greeting(question) or not _is_useful(chosen):
        return chosen
    others = [text for text in texts.values() if _is_useful(text)]
    parts = [chosen]
    if task.kind in ("documentation", "general") and (addition := _addition(question, chosen, others)):
        parts.append(question.say(f"Also: {addition}", f"另外：{addition}"))
    count = sum(_agrees(task.kind, chosen, other) for other in others)
    if count == 1:
        parts.append(question.say("Another answer agrees.", "另有一个答案与此一致。"))
    elif count:
        number = _COUNTS[count] if count < len(_COUNTS) else str(count)
        parts.append(question.say(f"{number} other answers agree.", f"另有 {count} 个答案与此一致。"))
    return "\n\n".join(parts)


def _is_useful(text: str) -> bool:
    return bool(text.strip()) and not is_refusal(text) and not quality.is_nonsense(text)


def _agrees(kind: Kind, chosen: str, other: str) -> bool:
    """Whether two answers say the same: the same number, the same text, or mostly the same
    words."""
    mine, yours = quality.numbers(chosen), quality.numbers(other)
    if kind == "arithmetic" and mine and yours:
        return math.isclose(yours[-1], mine[-1])
    shorter, longer = sorted((chosen, other), key=len)
    return shorter.strip() in longer or (
        containment(shorter, longer) >= _SAYS_THE_SAME and similarity(shorter, longer) > 0.1
    )


def _addition(question: Question, chosen: str, others: list[str]) -> str:
    """The first sentence of another answer that is about the question and not in the chosen one
    already."""
    for sentence in (sentence for other in others for sentence in sentences(other, limit=40)):
        is_new = len(sentence) > 15 and containment(sentence, chosen) < _IS_NEW
        if is_new and containment(question.text, sentence) > 0.3:
            return sentence
    return ""
