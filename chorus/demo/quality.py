"""What an answer is worth, whatever the question: is it empty, nonsense, a refusal; does it hold
the right number."""

from __future__ import annotations

import math
import re
from typing import Final

from chorus.demo.arithmetic import Number
from chorus.demo.language import is_chinese

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_SAMPLE: Final = 4000
_MOST_NUMBERS: Final = 200


def is_nonsense(text: str) -> bool:
    """Whether hardly anything in `text` could be a word. Code, numbers and Chinese are not
    nonsense."""
    words = [word.lower() for word in _WORD.findall(text[:_SAMPLE]) if len(word) > 2]
    if len(words) < 3 or is_chinese(text[:_SAMPLE]):
        return False
    return sum(1 for word in words if _is_speakable(word)) < 0.5 * len(words)


def _is_speakable(word: str) -> bool:
    if not word.isascii():
        return True
    return re.search("[aeiouy]", word) is not None and re.search("[^aeiouy]{6}", word) is None


def numbers(text: str) -> list[float]:
    """The numbers in an answer, in order."""
    values: list[float] = []
    for match in list(_NUMBER.finditer(text[:_SAMPLE]))[:_MOST_NUMBERS]:
        value = float(match.group().replace(",", "").replace("−", "-"))
        if math.isfinite(value):
            values.append(value)
    return values


def is_close(value: float, right: Number, tolerance: float = 1e-8) -> bool:
    """Whether a number is the right one, to `tolerance` of its size."""
    try:
        return math.isclose(value, float(right), rel_tol=tolerance, abs_tol=1e-12)
    except OverflowError:
        return False
