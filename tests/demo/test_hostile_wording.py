"""No text keeps the search for arithmetic busy: a question is read on the event loop (S3)."""

from __future__ import annotations

import time

import pytest

from chorus.demo.abacus import find

PIECES = [
    "*",
    "**",
    "(",
    "-",
    "- ",
    "sqrt(",
    "sin (",
    "mod ",
    "1+",
    "1 ",
    "pi",
    "** * ",
    "1",
    "!",
    "^",
    "1e",
    "1.",
    "\t*",
    "//*",
    "一",
    "((",
    "(-",
    "1%",
    "√1",
    "1的平方根",
    "1x",
    "a1",
    "1,000",
]


@pytest.mark.requirement("S3")
@pytest.mark.parametrize("piece", PIECES)
def test_repeated_signs_and_numbers_end_soon(piece: str) -> None:
    began = time.thread_time()
    find(piece * (2000 // len(piece)))
    # each needs some 10 ms, one that tries all ways needs years
    assert time.thread_time() - began < 1
