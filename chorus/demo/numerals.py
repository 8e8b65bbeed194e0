"""Numbers written in words, English and Chinese, turned into digits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_TO_NINETEEN: Final = str.split(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen"""
)
_TENS: Final = str.split("twenty thirty forty fifty sixty seventy eighty ninety")
_VALUES: Final = dict(zip((*_TO_NINETEEN, *_TENS), (*range(20), *range(20, 100, 10)), strict=True))
_LARGE: Final = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}


def _any(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"


_BELOW_100: Final = rf"(?:{_any(_TENS)}(?:[\s-]+{_any(_TO_NINETEEN[1:10])})?|{_any(_TO_NINETEEN)})\b"
_BELOW_1000: Final = rf"(?:(?:{_any(_TO_NINETEEN)}\s+)?hundred\b(?:\s+(?:and\s+)?{_BELOW_100})?|{_BELOW_100})"
_ENGLISH = re.compile(
    rf"\b(?:{_BELOW_1000}|{_any(_LARGE)}\b)(?:\s+{_any(_LARGE)}\b(?:\s+(?:and\s+)?{_BELOW_1000})?)*", re.IGNORECASE
)

_DIGITS: Final = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNITS: Final = {"十": 10, "百": 100, "千": 1000}
_MYRIADS: Final = {"万": 10_000, "亿": 100_000_000}
_CHINESE = re.compile("(?!百分之)([零〇一二两三四五六七八九十百千万亿]{1,20})(?:点([零〇一二三四五六七八九]+))?")


def in_digits(text: str) -> str:
    """`text` with every number word written in digits: "twenty-three", "一百零五" → 23, 105."""
    return _CHINESE.sub(_from_chinese, _ENGLISH.sub(_from_english, text))


def _from_english(match: re.Match[str]) -> str:
    total = group = 0
    for word in re.split(r"[\s-]+", match.group().lower()):
        if word in _LARGE:
            total, group = total + (group or 1) * _LARGE[word], 0
        elif word == "hundred":
            group = (group or 1) * 100
        else:  # "and" adds nothing
            group += _VALUES.get(word, 0)
    return str(total + group)


def _from_chinese(match: re.Match[str]) -> str:
    whole, decimals = match.groups("")
    if all(char in _DIGITS for char in whole):
        number = int("".join(str(_DIGITS[char]) for char in whole))
    else:
        number = _with_units(whole)
    return f"{number}.{''.join(str(_DIGITS[char]) for char in decimals)}" if decimals else str(number)


def _with_units(text: str) -> int:
    total = group = digit = 0
    for char in text:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char in _UNITS:
            group, digit = group + (digit or 1) * _UNITS[char], 0
        else:
            total, group, digit = (total + group + digit or 1) * _MYRIADS[char], 0, 0
    return total + group + digit
