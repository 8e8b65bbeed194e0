"""`demo-librarian`: answers from the handbook."""

from __future__ import annotations

from functools import partial
from typing import Final

from chorus.demo.handbook import Hit, Section, handbook
from chorus.demo.language import containment, sentences
from chorus.demo.question import Question
from chorus.demo.task import Mark, Task

_ENOUGH: Final = 0.5
_ENOUGH_ABOUT_CHORUS: Final = 0.34
_NEARLY_AS_GOOD: Final = 0.8
_LONGEST_QUESTION: Final = 1000


def task(question: Question) -> Task | None:
    """Return the search for a question, None when the handbook is not about it."""
    hits = look_up(question)
    if not hits:
        return None
    section = hits[0].section
    mark = partial(_mark, question, section)
    return Task("documentation", question, mark, _answer(question, hits), sentences(section.body)[0])


def look_up(question: Question) -> list[Hit]:
    """Return the sections that answer a question, best first."""
    least = _ENOUGH_ABOUT_CHORUS if "chorus" in question.text.lower() else _ENOUGH
    hits = handbook().search(question.text[:_LONGEST_QUESTION])
    return hits if hits and max(hit.coverage for hit in hits[:2]) >= least else []


def _answer(question: Question, hits: list[Hit]) -> str:
    """Return the best section, and where to read on."""
    best = hits[0]
    parts = [best.section.body]
    if question.in_chinese and not best.section.in_chinese:
        parts.insert(0, "手册的这一节只有英文：")
    related = [
        f"“{hit.section.title}”"
        for hit in hits[1:]
        if hit.score >= _NEARLY_AS_GOOD * best.score and hit.section.in_chinese == best.section.in_chinese
    ]
    if related:
        parts.append(
            question.say(f"See also {', '.join(related)} in the handbook.", f"另见手册：{'、'.join(related)}。")
        )
    return "\n\n".join(parts)


def _mark(question: Question, section: Section, text: str) -> Mark:
    """Compare an answer with the section, and a little with the question."""
    score = 2.0 + 5.5 * containment(section.body, text) + 1.5 * containment(question.text, text)
    return score, question.say(
        f"agrees most with the handbook's section “{section.title}”", f"与手册中“{section.title}”一节最吻合"
    )
