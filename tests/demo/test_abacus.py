"""Arithmetic is found in sentences, and not where there is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.demo.abacus import find
from chorus.demo.arithmetic import shown

from .asking import ask

SLOWEST_SECS = 1.0
WORDS = ["what is", "12", "3.5", "%", "of", "plus", "and", ",", "加", "乘以", "的平方", "9" * 70, "**", "(", ")", "-"]
WORDS += ["square root of", "divided by", "0", "√", "1,000", "的平方根", "W1", "2024-10-12", "to the power of", "x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What is 17*23?", "391"),
        ("what's 12 % of 80", "9.6"),
        ("7 percent of 50", "3.5"),
        ("17 % 5", "2"),
        ("7 times 8", "56"),
        ("10 divided by 4, please", "2.5"),
        ("the square root of 144", "12"),
        ("√16", "4"),
        ("2 to the power of 10", "1024"),
        ("3 squared plus 4 squared", "25"),
        ("2^3^2", "512"),
        ("1,234 * 2", "2468"),
        ("6 × 7 − 2", "40"),
        ("3 x 4", "12"),
        ("what is 24/7", "3.428571429"),
        ("(see 3+4)", "7"),
        ("2+2. And 3+3?", "4"),
        ("3加5乘以2等于多少", "13"),
        ("100除以（2+3）是多少？", "20"),
        ("9的平方根", "3"),
    ],
)
def test_arithmetic_is_found(text: str, value: str) -> None:
    found = find(text)
    assert found is not None
    assert shown(found.value) == value


@pytest.mark.parametrize(
    "text",
    [
        "Explain it in 3-5 sentences",
        "24/7 support",
        "on 2024-10-12",
        "127.0.0.1:11435",
        "GPT-4",
        "W1-W9",
        "Great, 10!",
        "What is Chorus?",
        "",
        "version 1.2.3",
        "https://example.com/1+1",
        "三个模型",
        "What is 1/0?",
        "9^9^9",
    ],
)
def test_no_arithmetic_is_seen_where_there_is_none(text: str) -> None:
    assert find(text) is None


async def test_it_shows_its_steps() -> None:
    answer = await ask("demo-abacus", "What is 17 * 23 + 4?")
    assert answer == "Step by step: 17 × 23 = 391; 391 + 4 = 395.\nThe result is 395."
    assert await ask(
        "demo-abacus", "2/3 + 1"
    ) == "Step by step: 2 ÷ 3 ≈ 0.6666666667; 0.6666666667 + 1 ≈ 1.666666667.\n" + ("The result is about 1.666666667.")


async def test_the_generalist_rounds() -> None:
    assert await ask("demo-generalist", "What is 10 / 3?") == "About 3.33."


@given(st.text(max_size=500) | st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_no_text_breaks_the_search_for_arithmetic(text: str) -> None:
    started = time.thread_time()
    find(text)
    assert time.thread_time() - started < SLOWEST_SECS


@pytest.mark.parametrize("text", ["9" * 20_000, "(" * 20_000, "1+" * 10_000, "1, " * 9_000, "3的" * 9_000])
def test_long_texts_take_no_long_time(text: str) -> None:
    started = time.thread_time()
    find(text)
    assert time.thread_time() - started < SLOWEST_SECS
