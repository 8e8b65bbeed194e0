"""`demo-judge`: analyzer, selector and synthesizer in one, and a generalist when it is asked
directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chorus import wirejson
from chorus.demo import generalist, quality, stage
from chorus.demo.expression import Result
from chorus.demo.language import containment, sentences, similarity
from chorus.demo.manners import is_greeting, is_refusal
from chorus.demo.question import Question, question_of
from chorus.demo.stage import LabelledAnswer, Stage
from chorus.demo.task import TEMPERATURES, Kind, task_of
from chorus.demo.verdict import judge
from chorus.demo.wording import find
from chorus.types import ChatRequest

_SAYS_THE_SAME: Final = 0.6
_RIGHT: Final = 8.0
"""The score from which a candidate has the right result."""
_IS_NEW: Final = 0.5
"""A sentence is new when less than this share of its words stands in the chosen answer already."""
_COUNTS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def answer(request: ChatRequest) -> str:
    """Play the stage the engine asks for."""
    task = stage.read(request)
    if task is None:
        return generalist.answer(question_of(request), model="demo-judge")
    match task.role:
        case "analyzer":
            return _analyze(task)
        case "selector":
            return _select(task)
        case "scorer":
            return _score(task)
    return _synthesize(task, is_formatted=request.response_format is not None)


def _analyze(task: Stage) -> str:
    judged = task_of(task.question)
    return _marked(
        task, {"task_type": judged.kind, "temperature": TEMPERATURES[judged.kind], "difficulty": judged.difficulty}
    )


def _select(task: Stage) -> str:
    verdict = judge(task.question, task.candidates)
    ranking = sorted(verdict.scores, key=lambda label: (label != verdict.choice, -verdict.scores[label]))
    judgement = {"choice": verdict.choice, "ranking": ranking, "reason": verdict.reason, "scores": verdict.scores}
    # what was worked out again and is right needs nothing from the others
    is_checked = task_of(task.question).kind in ("arithmetic", "text")
    best = verdict.scores.get(verdict.choice, 0.0)
    return _marked(task, {**judgement, "decisive": is_checked and best >= _RIGHT})


def _score(task: Stage) -> str:
    verdict = judge(task.question, task.candidates)
    return _marked(task, {"score": next(iter(verdict.scores.values()), 0.0), "reason": verdict.reason})


def _synthesize(task: Stage, *, is_formatted: bool) -> str:
    """The chosen text, and in a line or two what the others add. A text with a format of its own
    stays as it is."""
    if not task.candidates:
        return generalist.answer(task.question, model="demo-judge")
    label = task.chosen
    if all(candidate.label != label for candidate in task.candidates):
        label = judge(task.question, task.candidates).choice
    chosen = next(candidate for candidate in task.candidates if candidate.label == label)
    others = [c for c in task.candidates if c is not chosen and _is_useful(c)]
    if is_formatted or is_greeting(task.question) or not _is_useful(chosen):
        return chosen.text
    kind = task_of(task.question).kind
    agreeing = [other for other in others if _agrees(kind, task.question, chosen, other)]
    parts = [chosen.text]
    if kind in ("documentation", "general"):
        addition = _addition(task.question, chosen, others)
        if addition:
            parts.append(task.question.say(f"Also: {addition}", f"另外：{addition}"))
    if agreeing:
        parts.append(_agreement(task.question, len(agreeing)))
    return "\n\n".join(parts)


def _is_useful(candidate: LabelledAnswer) -> bool:
    text = candidate.text
    return bool(text.strip()) and not is_refusal(text) and not quality.is_nonsense(text)


def _agrees(kind: Kind, question: Question, chosen: LabelledAnswer, other: LabelledAnswer) -> bool:
    """Whether two answers say the same: the same number, the same text, or mostly the same
    words."""
    if kind == "arithmetic":
        calculation = find(question.text)
        mine, yours = quality.numbers(chosen.text), quality.numbers(other.text)
        if calculation and isinstance(calculation[1], Result) and mine and yours:
            return quality.is_close(yours[-1], mine[-1])
    shorter, longer = sorted((chosen.text, other.text), key=len)
    return shorter.strip() in longer or (
        containment(shorter, longer) >= _SAYS_THE_SAME and similarity(shorter, longer) > 0.1
    )


def _addition(question: Question, chosen: LabelledAnswer, others: list[LabelledAnswer]) -> str:
    """The first sentence of another answer that is about the question and not in the chosen one
    already."""
    for other in others:
        for sentence in sentences(other.text, limit=40):
            is_new = containment(sentence, chosen.text) < _IS_NEW
            if is_new and len(sentence) > 15 and containment(question.text, sentence) > 0.3:
                return sentence
    return ""


def _agreement(question: Question, count: int) -> str:
    if count == 1:
        return question.say("Another answer agrees.", "另有一个答案与此一致。")
    number = _COUNTS[count] if count < len(_COUNTS) else str(count)
    return question.say(f"{number} other answers agree.", f"另有 {count} 个答案与此一致。")


def _marked(task: Stage, verdict: Mapping[str, wirejson.JSON]) -> str:
    """`verdict` as JSON, with the mark that the prompt asks for."""
    return wirejson.encode({"mark": task.mark, **verdict} if task.mark else verdict).decode()
