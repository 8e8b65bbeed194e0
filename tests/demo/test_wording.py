"""Arithmetic is found in sentences, and not where there is none."""

from __future__ import annotations

import pytest

from chorus.demo.wording import find


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What is 17*23?", "391"),
        ("what's 12 % of 80", "9.6"),
        ("How much is twenty-three plus one hundred and five?", "128"),
        ("seven times eight", "56"),
        ("divide 10 by 4, please", "2.5"),
        ("subtract 3 from 10", "7"),
        ("the square root of 144", "12"),
        ("2 to the power of 10", "1024"),
        ("3 squared plus 4 squared", "25"),
        ("sum of 3, 4 and five", "12"),
        ("the average of 2 and 3", "2.5"),
        ("20% off 50", "40"),
        ("1,234 * 2", "2468"),
        ("6 × 7 − 2", "40"),
        ("what is 24/7", "3.428571429"),
        ("(see 3+4)", "7"),
        ("三加五乘以二等于多少", "13"),
        ("一百二十三除以四是多少？", "30.75"),
        ("80的12%是多少", "9.6"),
        ("百分之十二乘80", "9.6"),
        ("9的平方根", "3"),
        ("2的10次方", "1024"),
        ("3和5的平均数", "4"),
    ],
)
def test_arithmetic_is_found(text: str, value: str) -> None:
    found = find(text)
    assert found is not None
    assert str(found[1]) == value


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
        "one of them",
        "version 1.2.3",
        "https://example.com/1+1",
        "三个模型",
    ],
)
def test_no_arithmetic_is_seen_where_there_is_none(text: str) -> None:
    assert find(text) is None
