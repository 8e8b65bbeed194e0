"""`demo-librarian`: answers from the handbook."""

from __future__ import annotations

from typing import Final

from chorus.demo.handbook import Hit, handbook
from chorus.demo.manners import cannot
from chorus.demo.question import Question

_ENOUGH: Final = 0.5
_ENOUGH_ABOUT_CHORUS: Final = 0.34
_NEARLY_AS_GOOD: Final = 0.8


def look_up(question: Question) -> list[Hit]:
    """The sections that answer a question, best first; none when the handbook is not about it."""
    least = _ENOUGH_ABOUT_CHORUS if "chorus" in question.text.lower() else _ENOUGH
    hits = handbook().search(question.text[:1000])
    return hits if hits and max(hit.coverage for hit in hits[:2]) >= least else []


def answer(question: Question) -> str:
    """The best section, and where to read on."""
    hits = look_up(question)
    if not hits:
        return cannot("demo-librarian", question)
    best = hits[0]
    parts = [best.section.body]
    if question.in_chinese and not best.section.in_chinese:
        parts.insert(0, "手册的这一节只有英文：")
    related = [
        hit.section.title
        for hit in hits[1:]
        if hit.score >= _NEARLY_AS_GOOD * best.score and hit.section.in_chinese == best.section.in_chinese
    ]
    if related:
        titles = question.say(", ", "、").join(f"“{title}”" for title in related)
        parts.append(question.say(f"See also {titles} in the handbook.", f"另见手册：{titles}。"))
    return "\n\n".join(parts)
