"""The evaluator: right, exact, and unbreakable by any text."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.demo.arithmetic import MAX_BITS, NotComputable, shown
from chorus.demo.expression import NotAnExpression, evaluate
from chorus.demo.wording import find

SLOWEST_SECS = 1.0

arithmetic_texts = st.text(alphabet="0123456789.+-*/%^!()√°,e πsqrtmax ", max_size=80)
wordy_texts = st.lists(
    st.sampled_from(
        [
            "what is",
            "12",
            "3.5",
            "%",
            "of",
            "plus",
            "twenty",
            "hundred",
            "and",
            "sum of",
            ",",
            "加",
            "乘以",
            "三百",
            "的平方",
            "9" * 70,
            "**",
            "(",
            ")",
            "!",
            "square root of",
            "divided by",
            "0",
            "千万亿",
            "的",
            "次方",
            "1,000",
        ]
    ),
    max_size=40,
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17*23", "391"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("2^3^2", "512"),
        ("-2^2", "-4"),
        ("2(3+4)", "14"),
        ("0.1+0.2", "0.3"),
        ("1/4", "0.25"),
        ("10/3", "3.333333333"),
        ("17 % 5", "2"),
        ("50%", "0.5"),
        ("80 + 10%", "88"),
        ("5!", "120"),
        ("sqrt(144)", "12"),
        ("√(9/4)", "1.5"),
        ("2**-2", "0.25"),
        ("mean(1, 2, 6)", "3"),
        ("7 // 2", "3"),
        ("sin(30°)", "0.5"),
    ],
)
def test_it_computes_as_on_paper(text: str, value: str) -> None:
    assert str(evaluate(text)) == value


@pytest.mark.parametrize(
    "text", ["1/0", "5 % 0", "0^-1", "sqrt(0-1)", "9**9**9", "9999!", "2.5!", "ln(0)", "exp(1000)"]
)
def test_what_has_no_value_says_so(text: str) -> None:
    with pytest.raises(NotComputable) as failure:
        evaluate(text)
    assert not isinstance(failure.value, NotAnExpression)


@pytest.mark.parametrize(
    "text", ["", "hello", "1 +", "(1", "1)", "__import__('os')", "2 3", "1;2", "a=1", "sqrt 2", "()"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(NotAnExpression):
        evaluate(text)


def test_steps_are_in_the_order_they_are_done() -> None:
    assert evaluate("2 + 3 * 4").steps == ("3 × 4 = 12", "2 + 12 = 14")


@given(st.text(max_size=300) | arithmetic_texts)
def test_no_text_breaks_the_evaluator(text: str) -> None:
    started = time.perf_counter()
    try:
        result = evaluate(text)
    except NotComputable:
        pass
    else:
        assert shown(result.value)
        assert not isinstance(result.value, Fraction) or result.value.numerator.bit_length() <= MAX_BITS
    assert time.perf_counter() - started < SLOWEST_SECS


@given(st.text(max_size=500) | arithmetic_texts | wordy_texts)
def test_no_text_breaks_the_search_for_arithmetic(text: str) -> None:
    started = time.perf_counter()
    find(text)
    assert time.perf_counter() - started < SLOWEST_SECS


@pytest.mark.parametrize(
    "text", ["9" * 20_000, "(" * 20_000, "1+" * 10_000, "1, " * 9_000, "twenty " * 3_000, "3的" * 9_000]
)
def test_long_texts_take_no_long_time(text: str) -> None:
    started = time.perf_counter()
    find(text)
    assert time.perf_counter() - started < SLOWEST_SECS


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_whole_numbers_are_exact(a: int, b: int, sign: str) -> None:
    expected = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert evaluate(f"({a}) {sign} ({b})").value == expected
