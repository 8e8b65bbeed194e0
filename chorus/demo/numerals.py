"""Numbers written in words, English and Chinese, turned into digits."""

from __future__ import annotations

import re
from typing import Final

_ONES: Final = str.split(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen"""
)
_TENS: Final = str.split("twenty thirty forty fifty sixty seventy eighty ninety")
_SMALL: Final = dict(zip((*_ONES, *_TENS), (*range(20), *range(20, 100, 10)), strict=True))
_LARGE: Final = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_WORD: Final = "|".join(sorted((*_SMALL, "hundred", *_LARGE), key=len, reverse=True))
_ENGLISH = re.compile(rf"\b(?:{_WORD})(?:(?:\s+and\s+|[\s-]+)(?:{_WORD}))*\b", re.IGNORECASE)

_DIGITS: Final = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNITS: Final = {"十": 10, "百": 100, "千": 1000}
_MYRIADS: Final = {"万": 10_000, "亿": 100_000_000}
_CHINESE = re.compile("(?!百分之)[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?")


def in_digits(text: str) -> str:
    """`text` with every number word written in digits: "twenty-three", "一百零五" → 23, 105."""
    return _CHINESE.sub(_from_chinese, _ENGLISH.sub(_from_english, text))


def _from_english(match: re.Match[str]) -> str:
    written: list[str] = []
    number: _Spelled | None = None
    words = re.split(r"[\s-]+", match.group().lower())
    for position, word in enumerate(words):
        if word == "and":
            if number is None or not number.takes_and(words[position + 1]):
                written += [*([str(number)] if number else []), "and"]
                number = None
        elif number is None or not number.takes(word):
            written += [str(number)] if number else []
            number = _Spelled()
            number.takes(word)
    return " ".join([*written, str(number)] if number else written)


class _Spelled:
    """A number being spelled out, word by word."""

    def __init__(self) -> None:
        self._total = self._group = 0
        self._last = ""

    def __str__(self) -> str:
        return str(self._total + self._group)

    def takes_and(self, following: str) -> bool:
        """Whether "and" and the word after it go on with this number: "one hundred and five"."""
        return self._last in ("hundred", "large") and following in _SMALL

    def takes(self, word: str) -> bool:
        """Go on with `word`; False when it begins another number."""
        if word in _SMALL:
            value = _SMALL[word]
            if self._last == "unit" or (self._last == "tens" and not 0 < value < 10):
                return False
            self._group += value
            self._last = "tens" if value >= 20 else "unit"
        elif word == "hundred":
            if self._last not in ("", "unit"):
                return False
            self._group = (self._group or 1) * 100
            self._last = "hundred"
        else:
            self._total += (self._group or 1) * _LARGE[word]
            self._group = 0
            self._last = "large"
        return True


def _from_chinese(match: re.Match[str]) -> str:
    whole, _, decimals = match.group().partition("点")
    fraction = "".join(str(_DIGITS[char]) for char in decimals)
    return f"{_chinese_whole(whole)}.{fraction}" if fraction else str(_chinese_whole(whole))


def _chinese_whole(text: str) -> int:
    if all(char in _DIGITS for char in text):
        return int("".join(str(_DIGITS[char]) for char in text))
    total = group = digit = 0
    for char in text[:20]:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char in _UNITS:
            group += (digit or 1) * _UNITS[char]
            digit = 0
        else:
            total = (total + group + digit or 1) * _MYRIADS[char]
            group = digit = 0
    return total + group + digit
