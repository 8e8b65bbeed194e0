"""`demo-abacus`: finds the arithmetic in a question, works it out and shows the steps."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import partial
from typing import Final

from chorus.demo.arithmetic import Calculation, NotComputable, calculate, is_exact, numbers, shown
from chorus.demo.question import Question
from chorus.demo.task import Mark, Task

_LONGEST_TEXT: Final = 2000
_NUMBER: Final = r"(?<![\d.])(\d+(?:\.\d+)?)"

# replaced in this order: addresses, dates, names such as W1 and "3-5 sentences", which look like
# arithmetic; then words and signs
_REWRITES: Final = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"https?://\S+|\b\d{4}-\d\d?-\d\d?\b|\b[a-z]+\d\S*", ";"),
        (r"\b\d+[-/]\d+\b(?=\s*[a-z])", ";"),
        (r"(?<=\d),(?=\d{3}\b)", ""),
        (r"\bplus\b|加上?|＋", "+"),
        (r"\bminus\b|减去?|[−–－]", "-"),
        (r"\bdivided by\b|除以|÷", "/"),
        (r"\b(?:times|multiplied by)\b|(?<=\d)\s*x\s*(?=\d)|乘以?|[×·]", "*"),
        (r"\bpercent\b|％", "%"),
        (r"%\s*of\b", "% *"),
        (rf"(?:\bsquare root of\s+|√\s*){_NUMBER}|{_NUMBER}\s*的平方根", r"sqrt(\1\2)"),
        (r"\bsquared\b|的平方|²", "^2"),
        (r"\bto the power of\b", "^"),
        (r"\^", "**"),
        ("（", "("),
        ("）", ")"),
    )
]
_PERCENTAGE = re.compile(rf"{_NUMBER}\s*%(?!\s*[\d.(])")  # before a number it is the remainder
_RUN = re.compile(r"(?:[\d+\-*/%() ]|\.(?=\d)|sqrt(?=\())+", re.ASCII)
"""Characters of arithmetic and nothing else."""
_MOST_RUNS: Final = 20


def task(question: Question) -> Task | None:
    """Return the calculation that a question asks for, None when it asks for none."""
    calculation = find(question.text)
    if calculation is None:
        return None
    answer, short = _answers(question, calculation)
    return Task("arithmetic", question, partial(_mark, question, calculation), answer, short, len(calculation.steps))


def find(text: str) -> Calculation | None:
    """Return the longest expression in `text`, worked out; None without arithmetic."""
    text = text[:_LONGEST_TEXT]
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _PERCENTAGE.sub(lambda match: f"{Decimal(match[1]) / 100:f}", text)
    for expression in sorted(map(_trimmed, _RUN.findall(text)), key=len, reverse=True)[:_MOST_RUNS]:
        try:
            calculation = calculate(expression)
        except NotComputable:
            continue
        if calculation.steps:
            return calculation
    return None


def _trimmed(run: str) -> str:
    """Return `run` without what cannot stand at its ends."""
    run = run.strip(" +*/%").lstrip(")").rstrip("-( ")
    unclosed = run.count("(") - run.count(")")
    return run[unclosed:] if unclosed >= 0 else run[:unclosed]


def _answers(question: Question, calculation: Calculation) -> tuple[str, str]:
    """Return the result with its steps, and the generalist's: bare, and rounded where it is not
    exact."""
    result = shown(calculation.value)
    short, about = question.say(f"{result}.", f"{result}。"), " "
    if not is_exact(calculation.value):
        rough = f"{float(calculation.value):.2f}"
        short, about = question.say(f"About {rough}.", f"大约 {rough}。"), question.say(" about ", "约为 ")
    if len(calculation.steps) == 1:
        return calculation.steps[0], short
    answer = question.say(
        f"Step by step: {'; '.join(calculation.steps)}.\nThe result is{about}{result}.",
        f"分步计算：{'；'.join(calculation.steps)}。\n结果是{about}{result}。",
    )
    return answer, short


def _mark(question: Question, calculation: Calculation, text: str) -> Mark:
    """Compare an answer with the calculation: its last number is its result."""
    result, right, given = shown(calculation.value), float(calculation.value), numbers(text)
    if given and math.isclose(given[-1], right, rel_tol=1e-8):
        score = 8.8 if len(given) > 1 else 8.0  # more numbers are the way to the result
        return score, question.say(
            f"gives {result}, which is what I get when I redo the calculation", f"结果 {result} 与重新计算一致"
        )
    if any(math.isclose(number, right, rel_tol=0.01) for number in given):
        return 6.0, question.say(f"comes close to {result}, the exact result", f"接近准确结果 {result}")
    return 2.0, question.say(f"is an attempt, though the result is {result}", f"作了尝试，但正确结果是 {result}")
