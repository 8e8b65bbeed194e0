"""Find the arithmetic in a sentence: "what is 12 % of 80?", "3 加 5 乘以 2 等于多少"."""

from __future__ import annotations

import re
from typing import Final

from chorus.demo.arithmetic import FUNCTIONS, NotComputable
from chorus.demo.expression import CONSTANTS, MAX_LENGTH, TOKEN, NotAnExpression, Result, evaluate
from chorus.demo.numerals import in_digits

_N: Final = r"(-?(?:\d+(?:\.\d+)?|\.\d+))"
_LIST: Final = r"((?:-?\d+(?:\.\d+)?)(?:\s*(?:,\s*and|，|、|,|\band\b|和|与)\s*-?\d+(?:\.\d+)?)+)"
_BETWEEN = re.compile(r"\s*(?:,\s*and|，|、|,|\band\b|和|与)\s*")
_LISTS: Final = {
    "sum": "sum",
    "total": "sum",
    "average": "mean",
    "mean": "mean",
    "product": "product",
    "maximum": "max",
    "largest": "max",
    "biggest": "max",
    "minimum": "min",
    "smallest": "min",
    "和": "sum",
    "总和": "sum",
    "积": "product",
    "乘积": "product",
    "平均数": "mean",
    "平均值": "mean",
    "最大值": "max",
    "最小值": "min",
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
_IN_WORD_BEFORE = re.compile(r"[a-z_#@]", re.IGNORECASE | re.ASCII)
_IN_WORD_AFTER = re.compile(rf"(?!(?:{'|'.join(FUNCTIONS)}|pi|mod)\b)[a-z_]", re.IGNORECASE | re.ASCII)
_LONGEST_TEXT: Final = 2000


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
    plain = _ENGLISH_LIST.sub(lambda m: f"{_LISTS[m[1].lower()]}({_BETWEEN.sub(', ', m[2])})", plain)
    return _CHINESE_LIST.sub(lambda m: f"{_LISTS[m[2]]}({_BETWEEN.sub(', ', m[1])})", plain)


def _runs(text: str) -> list[tuple[int, str]]:
    """Stretches of nothing but arithmetic, with where they start."""
    runs: list[tuple[int, str]] = []
    start = end = -1
    is_after_value = False
    for match in TOKEN.finditer(text):
        is_value = match["number"] is not None or match.group().lower() in CONSTANTS
        belongs = _belongs(match, text)
        if start >= 0 and (not belongs or text[end : match.start()].strip() or (is_value and is_after_value)):
            _keep(runs, start, text[start:end])
            start = -1
        if belongs:
            start = match.start() if start < 0 else start
            end = match.end()
            is_after_value = is_value
    if start >= 0:
        _keep(runs, start, text[start:end])
    return runs[:40]


def _keep(runs: list[tuple[int, str]], start: int, run: str) -> None:
    if len(run) > MAX_LENGTH:
        return
    at = start
    for part in [run] if "(" in run else run.split(","):
        if any(char.isdigit() for char in part):
            runs.append((at, part))
        at += len(part) + 1


def _belongs(match: re.Match[str], text: str) -> bool:
    """Whether a token can be arithmetic where it stands: no numbers inside words, functions only
    before "("."""
    token = match.group().lower()
    if match["name"] is not None:
        if token in FUNCTIONS:
            return text[match.end() :].lstrip()[:1] == "("
        return token in (*CONSTANTS, "mod")
    if match["number"] is None:
        return True
    return not (_IN_WORD_BEFORE.search(text, max(0, match.start() - 1), match.start())) and not (
        _IN_WORD_AFTER.match(text, match.end())
    )


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
