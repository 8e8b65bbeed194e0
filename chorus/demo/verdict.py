"""The demo judge's selection: every candidate is checked against what can be worked out, and scored
0 to 10."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chorus.demo import quality, scribe
from chorus.demo.expression import Result
from chorus.demo.language import containment, similarity
from chorus.demo.librarian import look_up
from chorus.demo.manners import is_greeting, is_refusal
from chorus.demo.question import Question
from chorus.demo.stage import LabelledAnswer
from chorus.demo.task import Kind, task_of
from chorus.demo.wording import find

_AGREEMENT: Final = 1.0
"""Points that full agreement of all others is worth: it decides between equals, never against the
facts."""

_REFUSED: Final = 1.5
_TELLS_NO_RESULT = re.compile(
    r"\b(?:no (?:result|value|solution|such)|undefined|not defined|impossible|can't|cannot|infinit\w*|too (?:large|big))\b"
    r"|没有|无意义|无定义|不能|无法|算不出|太大",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A candidate's score, 0 to 10, and what earned it, as the end of "It was chosen because it
    ..."."""

    score: float
    because: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`choice` is a label; `scores` has one per label."""

    choice: str
    reason: str
    scores: dict[str, float]


def judge(question: Question, candidates: Sequence[LabelledAnswer]) -> Verdict:
    """The best candidate. Order and labels do not count: of equals the shorter wins."""
    if not candidates:
        return Verdict("", question.say("There was no candidate to choose from.", "没有可供选择的候选答案。"), {})
    kind = task_of(question).kind
    marks = {c.label: _mark(kind, question, c, candidates) for c in candidates}
    # then the one that names most of what to ask instead
    if all(mark.score <= _REFUSED for mark in marks.values()):
        best = min(candidates, key=lambda c: (-marks[c.label].score, -len(c.text), c.text))
    else:
        best = min(candidates, key=lambda c: (-marks[c.label].score, len(c.text), c.text))
    scores = {label: mark.score for label, mark in marks.items()}
    return Verdict(best.label, _reason(question, marks, best), scores)


def _reason(question: Question, marks: dict[str, Mark], best: LabelledAnswer) -> str:
    mine = marks[best.label]
    if len(marks) == 1:
        return question.say(f"It was the only answer; it {mine.because}.", f"这是唯一的答案：{mine.because}。")
    if mine.score <= _REFUSED:
        return question.say(
            f"None of the answers really helps; this one {mine.because}.",
            f"没有一个答案真正有用，这一个{mine.because}。",
        )
    if all(mark.score == mine.score for mark in marks.values()):
        return question.say(
            f"The answers are equally good, and this one is as short as any: it {mine.because}.",
            f"各个答案不相上下，选了较短的一个：{mine.because}。",
        )
    return question.say(f"It was chosen because it {mine.because}.", f"选它是因为：{mine.because}。")


def _mark(kind: Kind, question: Question, candidate: LabelledAnswer, every: Sequence[LabelledAnswer]) -> Mark:
    text = candidate.text
    if not text.strip():
        return Mark(0.0, question.say("is empty", "内容为空"))
    if quality.is_nonsense(text):
        return Mark(0.5, question.say("is hardly readable", "几乎读不懂"))
    if is_refusal(text) and not is_greeting(question):
        return Mark(_REFUSED, question.say("at least says plainly that it cannot help", "至少坦白说明了帮不上忙"))
    mark = _facts(kind, question, text)
    others = [other.text for other in every if other is not candidate]
    agreement = sum(similarity(text, other) for other in others) / len(others) if others else 0.0
    return Mark(round(min(10.0, mark.score + _AGREEMENT * agreement), 2), mark.because)


def _facts(kind: Kind, question: Question, text: str) -> Mark:
    match kind:
        case "arithmetic":
            return _arithmetic(question, text)
        case "documentation":
            return _documentation(question, text)
        case "text":
            return _text(question, text)
    score = (
        4.0 + 3.0 * containment(question.text, text) + (1.0 if len(text.split()) > 8 or question.in_chinese else 0.0)
    )
    return Mark(score, question.say("says most about what was asked", "与问题最相关"))


def _arithmetic(question: Question, text: str) -> Mark:
    calculation = find(question.text)
    if calculation is None or not isinstance(calculation[1], Result):
        if _TELLS_NO_RESULT.search(text):
            return Mark(8.0, question.say("says that there is no result", "说明了没有结果"))
        return Mark(
            2.0, question.say("is at least an attempt, though there is no result", "至少作了尝试，但其实没有结果")
        )
    result, numbers = calculation[1], quality.numbers(text)
    if numbers and quality.is_close(numbers[-1], result.value):
        steps = 0.8 if len(numbers) > 1 else 0.0
        because = question.say(
            f"gives {result}, which is what I get when I redo the calculation", f"结果 {result} 与重新计算一致"
        )
        return Mark(8.0 + steps, because)
    if any(quality.is_close(number, result.value) for number in numbers):
        return Mark(
            7.0, question.say(f"mentions {result}, the result of redoing the calculation", f"提到了正确结果 {result}")
        )
    if any(quality.is_close(number, result.value, 0.01) for number in numbers):
        return Mark(6.0, question.say(f"comes close to {result}, the exact result", f"接近准确结果 {result}"))
    return Mark(
        2.0,
        question.say(f"is at least an attempt, though the result is {result}", f"至少作了尝试，但正确结果是 {result}"),
    )


def _documentation(question: Question, text: str) -> Mark:
    hits = look_up(question)
    if not hits:
        return Mark(5.0, question.say("fits the question", "切合问题"))
    section = hits[0].section
    overlap = containment(section.body, text)
    about = containment(question.text, text)
    because = question.say(
        f"agrees most with the handbook's section “{section.title}”", f"与手册中“{section.title}”一节最吻合"
    )
    return Mark(2.0 + 5.5 * overlap + 1.5 * about, because)


def _text(question: Question, text: str) -> Mark:
    done = scribe.perform(question)
    if done is None:
        return Mark(5.0, question.say("fits the question", "切合问题"))
    if "summary" in done.instruction.operations:
        faithful = containment(text, done.instruction.subject)
        central = containment(done.result, text)
        because = question.say("keeps the most central sentences of the text", "保留了原文最核心的句子")
        return Mark(2.0 + 3.0 * faithful + 4.0 * central, because)
    if text.strip() in (done.result.strip(), done.sentence.strip()):
        score = 9.0 if text.strip() == done.sentence.strip() else 8.5
        return Mark(score, question.say("gives exactly the result I get when I redo it", "与重新处理的结果完全一致"))
    if done.result in text:
        return Mark(8.0, question.say("contains the result I get when I redo it", "包含了重新处理得到的结果"))
    if done.result.casefold() in text.casefold():
        return Mark(6.0, question.say("has the result but for its capitals", "除大小写外结果正确"))
    return Mark(2.5, question.say("at least stays with the text", "至少与原文有关"))
