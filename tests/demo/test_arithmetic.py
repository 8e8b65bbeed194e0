"""Arithmetic: right, exact, and unbreakable by any text."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.demo.arithmetic import MAX_BITS, MAX_LENGTH, NotComputable, calculate, shown

SLOWEST_SECS = 1.0
PIECES = ["1", "2.5", "999", ".", "+", "-", "*", "**", "/", "//", "%", "(", ")", "sqrt(", " ", "((", "**9", "(-"]
arithmetic_texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17*23", "391"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("2**3**2", "512"),
        ("-2**2", "-4"),
        ("0.1+0.2", "0.3"),
        ("1/4", "0.25"),
        ("10/3", "3.333333333"),
        ("17 % 5", "2"),
        ("sqrt(144)", "12"),
        ("sqrt(9/4)", "1.5"),
        ("2**-2", "0.25"),
        ("1" + "0" * 35 + "*1", "1e+35"),
    ],
)
def test_it_computes_as_on_paper(text: str, value: str) -> None:
    assert shown(calculate(text).value) == value


@pytest.mark.parametrize(
    "text",
    [
        "1/0",
        "5 % 0",
        "0**-1",
        "sqrt(0-1)",
        "2**0.5",
        "7 // 2",
        "9**9**9",
        "2**999*2**999",
        "",
        "hello",
        "1 +",
        "(1",
        "1)",
        "2 3",
        "1;2",
        "a=1",
        "sqrt",
        "sqrt(1, 2)",
        "()",
        "(1)(2)",
        "1j",
        "1 if 1 else 2",
        "__import__('os')",
        "().__class__",
        "~1",
        "1<2",
        "[1]",
        "'a'*9",
        "(" * MAX_LENGTH,
        "1+" * MAX_LENGTH + "1",
    ],
)
def test_what_is_no_expression_or_has_no_value_is_refused(text: str) -> None:
    with pytest.raises(NotComputable):
        calculate(text)


def test_steps_are_in_the_order_they_are_done() -> None:
    assert calculate("2 + 3 * 4").steps == ("3 × 4 = 12", "2 + 12 = 14")


@given(st.text(max_size=300) | arithmetic_texts)
def test_no_text_breaks_it(text: str) -> None:
    started = time.thread_time()
    with contextlib.suppress(NotComputable):
        value = calculate(text).value
        assert shown(value)
        assert value.numerator.bit_length() <= MAX_BITS
    assert time.thread_time() - started < SLOWEST_SECS


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_whole_numbers_are_exact(a: int, b: int, sign: str) -> None:
    expected = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert calculate(f"({a}) {sign} ({b})").value == expected
