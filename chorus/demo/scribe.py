"""`demo-scribe`: an operation on a text that stands in quotes, behind a colon, or at the end of the
question."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import partial
from typing import Final

from chorus.demo.language import containment, is_chinese, sentences, similarity
from chorus.demo.question import Question
from chorus.demo.task import Mark, Task


def count_words(text: str) -> str:
    """Return the number of words, where each Chinese character counts as one."""
    return str(sum(map(is_chinese, text)) + len(re.findall(r"[a-z\d'’-]+", text, re.IGNORECASE)))


def sort_words(text: str) -> str:
    """Return the items in alphabetical order, separated as they were: by commas or by spaces."""
    items = [item.strip() for item in text.split("," if "," in text else None)]
    return (", " if "," in text else " ").join(sorted(items, key=str.casefold))


def summary(text: str) -> str:
    """Return the sentence that shares most with all the others."""
    every = sentences(text)
    return max(every, key=lambda one: sum(similarity(one, other) for other in every), default=text)


OPERATIONS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    (r"\brevers(?:e|ed)\b|\bbackwards\b|反转|倒过来|倒序", lambda text: text[::-1]),
    (r"\btitle[- ]?case\b|首字母大写", string.capwords),
    (r"\bupper[- ]?case\b|\bcapital letters\b|大写", str.upper),
    (r"\blower[- ]?case\b|小写", str.lower),
    (r"\bsort\b|\balphabetical order\b|排序", sort_words),
    (r"\bacronym\b|缩写", lambda text: "".join(word[0] for word in text.split()).upper()),
    (r"\b(?:how many|count|number of)(?: the)? words\b|几个词|多少个?词|字数", count_words),
    (r"\bsummar(?:y|i[sz]e)\b|总结|概括|摘要", summary),
)
"""The words that ask for an operation, and what it makes of a text. The first that fits is done."""
_PATTERNS: Final = [(re.compile(words, re.IGNORECASE), perform) for words, perform in OPERATIONS]
_SET_OFF = re.compile(
    r"""[:：\n]\s*(\S.*)|"([^"]+)"|“([^“”]+)”|「([^「」]+)」|«([^«»]+)»|(?<!\w)'([^']+)'(?!\w)""", re.DOTALL
)
_FILLER: Final = frozenset(
    str.split("please can you convert turn make write put the a an word words text of in to into 请 把 变成 改成")
)
"""The words around a text that nothing sets off: "the word stream", "convert hello to"."""


def task(question: Question) -> Task | None:
    """Return the operation that a question asks for, None when it asks for none."""
    wording, text = question.text, ""
    if match := _SET_OFF.search(wording):
        wording, text = _without(match, wording), next(filter(None, match.groups()))
    elif wording.endswith(("?", "？")):
        return None  # "Does it run behind a reverse proxy?" is no instruction
    for pattern, operation in _PATTERNS:
        if match := pattern.search(wording):
            text = text or _without_filler(_without(match, wording))
            return _done(question, operation, text) if text.strip() else None
    return None


def _without(match: re.Match[str], text: str) -> str:
    return f"{text[: match.start()]} {text[match.end() :]}"


def _without_filler(text: str) -> str:
    words = text.strip(" .,;!。，；！").split()
    kept = [number for number, word in enumerate(words) if word.lower() not in _FILLER]
    return " ".join(words[kept[0] : kept[-1] + 1]) if kept else ""


def _done(question: Question, operation: Callable[[str], str], text: str) -> Task:
    result = answer = operation(text)
    if operation is count_words:
        answer = question.say(f"The text has {result} words.", f"这段文字有 {result} 个词。")
    return Task("text", question, partial(_mark, question, text, result, answer), answer, result)


def _mark(question: Question, text: str, result: str, sentence: str, answer: str) -> Mark:
    """Compare an answer with the result; without it, staying with the text is worth something."""
    if result in answer:
        score = 9.0 if answer.strip() == sentence.strip() else 8.0
        return score, question.say("has the result I get when I redo it", "与重新处理的结果一致")
    if result.casefold() in answer.casefold():
        return 6.0, question.say("has the result but for its capitals", "除大小写外结果正确")
    return 2.5 + containment(text, answer), question.say("at least stays with the text", "至少与原文有关")
