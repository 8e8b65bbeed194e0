"""The demo judge's selection: every candidate is checked against what can be worked out, and scored
0 to 10."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chorus.demo import quality
from chorus.demo.arithmetic import NotComputable
from chorus.demo.expression import Result
from chorus.demo.language import containment, similarity
from chorus.demo.manners import is_greeting, is_refusal
from chorus.demo.question import Question
from chorus.demo.scribe import Done
from chorus.demo.stage import LabelledAnswer
from chorus.demo.task import Task

_REFUSED: Final = 1.5
_TELLS_NO_RESULT = re.compile(
    r"\b(?:no (?:result|value|solution|such)|undefined|not defined|impossible|can't|cannot|infinit\w*|too (?:large|big))\b"
    r"|没有|无意义|无定义|不能|无法|算不出|太大",
    re.IGNORECASE,
)

Mark = tuple[float, str]
"""A score, and what earned it, as the end of "It was chosen because it ..."."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`choice` is a label; `scores` has one per label."""

    choice: str
    reason: str
    scores: dict[str, float]


def judge(task: Task, candidates: Sequence[LabelledAnswer]) -> Verdict:
    """The best candidate.

    Order and labels do not count: of equals the shorter wins, of refusals the longer, which says
    more of what to ask instead.
    """
    question = task.question
    if not candidates:
        return Verdict("", question.say("There was no candidate to choose from.", "没有可供选择的候选答案。"), {})
    marks = {one.label: _mark(task, one, candidates) for one in candidates}
    scores = {label: score for label, (score, _) in marks.items()}
    is_helpless = max(scores.values()) <= _REFUSED
    best = min(candidates, key=lambda c: (-scores[c.label], -len(c.text) if is_helpless else len(c.text), c.text))
    because = marks[best.label][1]
    if is_helpless:
        reason = question.say(
            f"None of the answers really helps; this one {because}.", f"没有一个答案真正有用，这一个{because}。"
        )
    else:
        reason = question.say(f"It was chosen because it {because}.", f"选它是因为：{because}。")
    return Verdict(best.label, reason, scores)


def _mark(task: Task, candidate: LabelledAnswer, every: Sequence[LabelledAnswer]) -> Mark:
    text, question = candidate.text, task.question
    if not text.strip():
        return 0.0, question.say("is empty", "内容为空")
    if quality.is_nonsense(text):
        return 0.5, question.say("is hardly readable", "几乎读不懂")
    if is_refusal(text) and not is_greeting(question):
        return _REFUSED, question.say("at least says plainly that it cannot help", "至少坦白说明了帮不上忙")
    if task.calculation is not None:
        score, because = _arithmetic(question, task.calculation[1], text)
    elif task.section is not None:
        score = 2.0 + 5.5 * containment(task.section.body, text) + 1.5 * containment(question.text, text)
        title = task.section.title
        because = question.say(f"agrees most with the handbook's section “{title}”", f"与手册中“{title}”一节最吻合")
    elif task.done is not None:
        score, because = _text(question, task.done, text)
    else:
        is_long = len(text.split()) > 8 or question.in_chinese
        score = 4.0 + 3.0 * containment(question.text, text) + is_long
        because = question.say("says most about what was asked", "与问题最相关")
    # full agreement of the others is worth a point: it decides between equals, not against the
    # facts
    others = [other.text for other in every if other is not candidate]
    agreement = sum(similarity(text, other) for other in others) / max(1, len(others))
    return round(min(10.0, score + agreement), 2), because


def _arithmetic(question: Question, result: Result | NotComputable, text: str) -> Mark:
    if not isinstance(result, Result):
        if _TELLS_NO_RESULT.search(text):
            return 8.0, question.say("says that there is no result", "说明了没有结果")
        return 2.0, question.say("is an attempt, though there is no result", "作了尝试，但其实没有结果")
    numbers = quality.numbers(text)
    if numbers and quality.is_close(numbers[-1], result.value):
        return 8.8 if len(numbers) > 1 else 8.0, question.say(
            f"gives {result}, which is what I get when I redo the calculation", f"结果 {result} 与重新计算一致"
        )
    if any(quality.is_close(number, result.value, 0.01) for number in numbers):
        return 6.0, question.say(f"comes close to {result}, the exact result", f"接近准确结果 {result}")
    return 2.0, question.say(f"is an attempt, though the result is {result}", f"作了尝试，但正确结果是 {result}")


def _text(question: Question, done: Done, text: str) -> Mark:
    if "summary" in done.operations:
        score = 2.0 + 3.0 * containment(text, done.subject) + 4.0 * containment(done.result, text)
        return score, question.say("keeps the most central sentences of the text", "保留了原文最核心的句子")
    if done.result in text:
        score = 9.0 if text.strip() == done.sentence.strip() else 8.0
        return score, question.say("has the result I get when I redo it", "与重新处理的结果一致")
    if done.result.casefold() in text.casefold():
        return 6.0, question.say("has the result but for its capitals", "除大小写外结果正确")
    return 2.5, question.say("at least stays with the text", "至少与原文有关")
