"""Find the arithmetic in a sentence: "what is 12 % of 80?", "3 加 5 乘以 2 等于多少"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Final

from chorus.demo.arithmetic import FUNCTIONS, NotComputable
from chorus.demo.expression import MAX_LENGTH, NUMBER, SIGN, NotAnExpression, Result, evaluate
from chorus.demo.numerals import in_digits

_N: Final = r"(-?(?:\d+(?:\.\d+)?|\.\d+))"
_AND: Final = r"\s*(?:,\s*and|，|、|,|\band\b|和|与)\s*"
_LIST: Final = rf"((?:-?\d+(?:\.\d+)?)(?:{_AND}-?\d+(?:\.\d+)?)+)"
_LISTS: Final = {
    word: function
    for function, words in {
        "sum": "sum total 和 总和",
        "mean": "average mean 平均数 平均值",
        "product": "product 积 乘积",
        "max": "maximum largest biggest 最大值",
        "min": "minimum smallest 最小值",
    }.items()
    for word in words.split()
}

# applied in this order: what looks like arithmetic and is not, signs, then phrases
_REWRITES: Final = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"https?://\S+|\d{61,}", " ; "),  # and numbers too long to mean
        (r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,5}(?:\.\d+){2,}(?::\d+)?\b", " ; "),
        (r"(?<![\w.,])(\d{1,3}),(\d{3}),(\d{3})(?![\w,])", r"\1\2\3"),
        (r"(?<![\w.,(])(\d{1,3}),(\d{3})(?![\w,])", r"\1\2"),
        ("[$€£¥]", ""),
        ("²", "^2"),
        ("³", "^3"),
        ("[×·⋅∗＊]", "*"),
        ("[÷／]", "/"),
        ("[−–—－]", "-"),
        ("＋", "+"),
        ("（", "("),
        ("）", ")"),
        ("％", "%"),
        (r"(?<=\d)\s*x\s*(?=\d)", " * "),
        # English
        (r"\bpercent\b|\bper cent\b", "%"),
        (r"%\s*of\b(?:\s+the\b)?", "% *"),
        (rf"{_N}\s*%\s+off\s+(?:of\s+)?{_N}", r"\2 - \1%"),
        (r"\bhalf\s+of\b", "0.5 *"),
        (r"\b(?:twice|double)\b(?=\s+[\d(])", "2 *"),
        (r"\btriple\b(?=\s+[\d(])", "3 *"),
        (r"\bplus\b", "+"),
        (r"\bminus\b", "-"),
        (r"\b(?:times|multiplied by)\b", "*"),
        (r"\bdivided by\b", "/"),
        (r"\bmodulo\b|\bmodulus\b", "mod"),
        (r"\bsquared\b", "^2"),
        (r"\bcubed\b", "^3"),
        (r"\b(?:raised )?to the (?:power of|power)\s+(?=[\d(-])|\bto the power of\b", "^ "),
        (r"\b(?:square root|sqrt)\s+(?:of\s+)?(?:the\s+)?(?=\()", "sqrt"),
        (rf"\b(?:square root|sqrt)\s+(?:of\s+)?{_N}", r"sqrt(\1)"),
        (rf"\b(?:cube root|cbrt)\s+(?:of\s+)?{_N}", r"cbrt(\1)"),
        (rf"\b(?:factorial\s+(?:of\s+)?{_N}|{_N}\s+factorial)\b", r"factorial(\1\2)"),
        (rf"\badd\s+{_N}\s+(?:and|to|with)\s+{_N}", r"\1 + \2"),
        (rf"\bsubtract\s+{_N}\s+from\s+{_N}", r"\2 - \1"),
        (rf"\bmultiply\s+{_N}\s+(?:by|and|with)\s+{_N}", r"\1 * \2"),
        (rf"\bdivide\s+{_N}\s+by\s+{_N}", r"\1 / \2"),
        (r"\bdegrees?\b", "°"),
        # Chinese
        ("百分之" + _N, r"\1%"),
        (rf"{_N}\s*的\s*{_N}\s*%", r"\2% * \1"),
        (r"[%]\s*的", "% *"),
        (rf"{_N}\s*的\s*{_N}\s*次(?:方|幂)", r"\1^\2"),
        (r"的?平方根", "√√"),
        ("的?立方根", "∛"),
        (rf"{_N}√√", r"sqrt(\1)"),
        (rf"{_N}∛", r"cbrt(\1)"),
        ("√√", ""),
        (r"的?平方", "^2"),
        (r"的?立方", "^3"),
        (rf"根号\s*{_N}", r"sqrt(\1)"),
        (rf"{_N}\s*的?阶乘", r"factorial(\1)"),
        (r"加上?|＋", "+"),
        (r"减去?", "-"),
        (r"乘以?", "*"),
        (r"除以", "/"),
        (r"负(?=\d)", "-"),
    )
]
_ENGLISH_LIST = re.compile(
    rf"\b(sum|total|average|mean|product|maximum|largest|biggest|minimum|smallest)\s+(?:value\s+)?of\s+"
    rf"(?:the\s+)?(?:numbers?\s+)?{_LIST}",
    re.IGNORECASE,
)
_CHINESE_LIST = re.compile(rf"{_LIST}\s*的\s*(总和|和|乘积|积|平均数|平均值|最大值|最小值)")
_CUE = re.compile(
    r"(?:what(?:'s| is| are)|how much is|calculate|compute|evaluate|solve|work out|result of|value of"
    r"|算|计算|求|多少|等于)[\s:：一下]*$",
    re.IGNORECASE,
)
_CHAINED = re.compile(r"\d+-\d+|\d+/\d+")  # "3-5 sentences", "24/7": no arithmetic unless asked for
_VALUE: Final = rf"(?:(?<![a-z_#@\d.])(?>{NUMBER})(?!(?!(?:{'|'.join(FUNCTIONS)}|pi|mod)\b)[a-z_])|\b(?:pi|e)\b|π)"
_JOINT: Final = rf"(?:{SIGN}|\bmod\b|\b(?:{'|'.join(FUNCTIONS)})\b(?=\s*\())"
_RUN = re.compile(
    rf"(?>(?:{_JOINT}\s*){{0,30}}){_VALUE}(?:(?>(?:\s*{_JOINT})+)\s*{_VALUE})*(?:\s*{_JOINT})*",
    re.IGNORECASE | re.ASCII,
)
"""Arithmetic and nothing else: values with signs and functions between them."""
_LONGEST_TEXT: Final = 2000
_MOST_RUNS: Final = 40


def find(text: str) -> tuple[str, Result | NotComputable] | None:
    """The first of the longest expressions in `text` and its result, or why it has none; None
    without arithmetic."""
    plain = _with_signs(text[:_LONGEST_TEXT])
    best: tuple[str, Result | NotComputable] | None = None
    for start, run in _runs(plain):
        expression = _trimmed(run)
        if best is not None and len(expression) <= len(best[0]):
            continue
        try:
            outcome: Result | NotComputable = evaluate(expression)
        except NotAnExpression:
            continue
        except NotComputable as problem:
            outcome = problem
        if _is_meant(expression, outcome, plain, start):
            best = expression, outcome
    return best


def _with_signs(text: str) -> str:
    """`text` with its number words as digits and its phrases as signs."""
    plain = in_digits(text)
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    plain = _ENGLISH_LIST.sub(lambda m: f"{_LISTS[m[1].lower()]}({re.sub(_AND, ', ', m[2])})", plain)
    return _CHINESE_LIST.sub(lambda m: f"{_LISTS[m[2]]}({re.sub(_AND, ', ', m[1])})", plain)


def _runs(text: str) -> Iterator[tuple[int, str]]:
    """Stretches of nothing but arithmetic, with where they start; a list is none, its items are."""
    for match in itertools.islice(_RUN.finditer(text), _MOST_RUNS):
        run, at = match.group(), match.start()
        if len(run) > MAX_LENGTH:
            continue
        for part in [run] if "(" in run else run.split(","):
            if any(char.isdigit() for char in part):
                yield at, part
            at += len(part) + 1


def _trimmed(run: str) -> str:
    """`run` without what cannot stand at its ends."""
    run = run.strip()
    while run:
        if run[0] in "*/%!),^°" or (run[0] == "(" and run.count("(") > run.count(")")):
            run = run[1:].lstrip()
        elif run[-1] in "+-*/(,^√" or (run[-1] == ")" and run.count(")") > run.count("(")):
            run = run[:-1].rstrip()
        elif run.lower().endswith("mod"):
            run = run[:-3].rstrip()
        else:
            break
    return run


def _is_meant(expression: str, outcome: Result | NotComputable, text: str, start: int) -> bool:
    if isinstance(outcome, NotComputable):
        return True
    if not outcome.operations:
        return False
    is_asked = _CUE.search(text[:start]) is not None
    if outcome.operations == ("!",):
        return is_asked
    following = text[start + len(expression) :].lstrip(" ")[:1]
    return is_asked or not (_CHAINED.fullmatch(expression) and following.isalpha() and following.isascii())
