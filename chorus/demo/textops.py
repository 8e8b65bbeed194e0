"""The text operations themselves: text in, text out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from chorus.demo.language import central, is_chinese, sentences

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SMALL_WORDS: Final = frozenset(
    ("a", "an", "and", "as", "at", "by", "for", "if", "in", "of", "on", "or", "the", "to", "with")
)


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def reverse(text: str) -> str:
    return text[::-1]


def reverse_words(text: str) -> str:
    return " ".join(reversed(text.split()))


def title_case(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:].lower() for word in text.split())


def sort_words(text: str) -> str:
    """The items in alphabetical order, separated as they were: by commas or by spaces."""
    comma = next((sign for sign in ("，", "、", ",") if sign in text), "")
    items = [item.strip() for item in text.split(comma)] if comma else words(text)
    separator = f"{comma} " if comma == "," else comma or " "
    return separator.join(sorted((item for item in items if item), key=lambda item: (item.casefold(), item)))


def acronym(text: str) -> str:
    """The initials; small words such as "of" lend none, unless there are no others."""
    every = words(text.replace("-", " "))
    chosen = [word for word in every if word.lower() not in _SMALL_WORDS] or every
    return "".join(word[0] for word in chosen).upper()


def summary(text: str) -> str:
    """The most central sentences: one of up to four, at most three of any text."""
    count = min(3, max(1, len(sentences(text)) // 4))
    return ("" if is_chinese(text) else " ").join(central(text, count))


def is_palindrome(text: str) -> bool:
    letters = [char for char in text.casefold() if char.isalnum()]
    return letters == letters[::-1]


def count_words(text: str) -> int:
    """Words, where Chinese counts by characters, as its editors count."""
    return sum(1 for char in text if is_chinese(char)) + sum(1 for word in words(text) if word.isascii())


def count_letters(text: str) -> int:
    return sum(1 for char in text if char.isalpha())


def occurrences(needle: str, text: str) -> int:
    return text.casefold().count(needle.casefold())


TRANSFORMS: Final[dict[str, Callable[[str], str]]] = {
    "reverse words": reverse_words,
    "reverse": reverse,
    "title case": title_case,
    "upper case": str.upper,
    "lower case": str.lower,
    "sort": sort_words,
    "acronym": acronym,
    "summary": summary,
}
COUNTS: Final[dict[str, tuple[Callable[[str], int], str, str]]] = {
    "words": (count_words, "word", "个词"),
    "letters": (count_letters, "letter", "个字母"),
    "characters": (len, "character", "个字符"),
    "sentences": (lambda text: len(sentences(text)), "sentence", "个句子"),
}
