"""What an answer is worth, whatever the question: is it nonsense, does it hold the right number."""

from __future__ import annotations

import math
import re
from typing import Final

from chorus.demo.arithmetic import Number
from chorus.demo.language import is_chinese

_WORD = re.compile(r"[^\W\d_]{3,}")
_SPEAKABLE = re.compile(r"(?!.*[^aeiouy]{6})(?=.*[aeiouy])|.*[^\x00-\x7f]")
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_SAMPLE: Final = 4000


def is_nonsense(text: str) -> bool:
    """Whether hardly anything in `text` could be a word. Code, numbers and Chinese are not
    nonsense."""
    words = _WORD.findall(text[:_SAMPLE].lower())
    if len(words) < 3 or is_chinese(text[:_SAMPLE]):
        return False
    return sum(_SPEAKABLE.match(word) is not None for word in words) < 0.5 * len(words)


def numbers(text: str) -> list[float]:
    """The numbers in an answer, in order."""
    return [float(number.replace(",", "").replace("−", "-")) for number in _NUMBER.findall(text[:_SAMPLE])]


def is_close(value: float, right: Number, tolerance: float = 1e-8) -> bool:
    """Whether a number is the right one, to `tolerance` of its size."""
    try:
        return math.isclose(value, float(right), rel_tol=tolerance, abs_tol=1e-12)
    except OverflowError:
        return False
