"""What the demo models know of language: whether a text is Chinese, its terms, its sentences, and
how much two texts have in common."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final

_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_TERM = re.compile(rf"[a-z0-9]+(?:[_'.\-/][a-z0-9]+)*|[{_HAN}]+")
_SENTENCE = re.compile(
    r"[^.!?。！？\n]*(?:[.!?](?![\s\"”')\]]|$)[^.!?。！？\n]*)*(?:[.!?]+[\"”')\]]*|[。！？]+[”」]*)?"
)
_PIECE = re.compile(rf"\s*(?:[{_HAN}]{{1,3}}[，。！？；：、”」）]?|[^\s{_HAN}]+)|\s+")
_COMPARED: Final = 6000
"""Characters that two texts are compared by: the judge runs in the server's own loop and must not
hold it up."""

# the words that questions are made of, whatever they ask about
_STOP_WORDS: Final = frozenset(
    str.split(
        """a about am an and any are as at be been by can could did do does doing each else explain first for from
        get give had happen happens has have how i if in into is it its kind know let like many mean means may me
        might must my need no not now of off on one or our out over own please s say shall she should so some such
        support supports t tell than that the their them then there these they thing this those to too us
        very want was way we were what when where which while who whom whose why will with work works would
        you your describe"""
    )
)
_CHINESE_FILLER = re.compile(
    "请问|什么是|是什么|为什么|什么样|什么|怎么样|怎么|怎样|如何|哪些|哪个|哪里|多少|可以|能够|一下|告诉我|帮我|有没有|是否"
    "|[吗呢吧啊的了是在有和与请会能我你它把被个这那]"
)


def is_chinese(text: str) -> bool:
    """Whether `text` is written in Chinese, foreign names and code words allowed."""
    return len(_HAN_CHARACTER.findall(text)) > len(re.findall(r"[A-Za-z]+", text))


def terms(text: str) -> list[str]:
    """Return the words that carry meaning, stemmed. A compound (`include_workflow`) counts as a
    whole and in parts, Chinese in pairs of characters."""
    collected: list[str] = []
    for term in _TERM.findall(_CHINESE_FILLER.sub(" ", text.lower()).replace("’", "'")):
        if _HAN_CHARACTER.match(term):
            collected += [term[i : i + 2] for i in range(len(term) - 1)] or [term]
            continue
        parts = re.split(r"[_.\-/]", term.partition("'")[0])
        if len(parts) > 1:
            collected.append(term)
        collected += [stem(part) for part in parts if part not in _STOP_WORDS]
    return collected


def stem(word: str) -> str:
    """Return `word` without the commonest English endings, so that "timeouts" meets "timeout"."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    for ending, least in (("ing", 6), ("ed", 5), ("s", 4)):
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def sentences(text: str, limit: int = 80) -> list[str]:
    """Return the first `limit` sentences. A dot inside a word or a number (`config.toml`, 0.7) ends
    none."""
    stripped = (match.group().strip() for match in _SENTENCE.finditer(text))
    return list(itertools.islice(filter(None, stripped), limit))


def pieces(text: str) -> list[str]:
    """Cut `text` as a model would stream it: by words, and Chinese by a few characters."""
    return _PIECE.findall(text)


def similarity(one: str, other: str) -> float:
    """Return how many terms two texts share, 0 to 1 (Jaccard)."""
    mine, yours = _bag(one[:_COMPARED]), _bag(other[:_COMPARED])
    return len(mine & yours) / len(mine | yours) if mine and yours else 0.0


def containment(part: str, whole: str) -> float:
    """Return the share of the terms of `part` that `whole` has too, 0 to 1."""
    mine = _bag(part[:_COMPARED])
    return len(mine & _bag(whole[:_COMPARED])) / len(mine) if mine else 0.0


@functools.lru_cache(maxsize=128)  # a judge compares each candidate with every other
def _bag(text: str) -> frozenset[str]:
    return frozenset(terms(text))
