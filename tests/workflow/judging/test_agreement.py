"""Which answers count as the same, and that finding out is no work to speak of whatever an upstream
sends (W7)."""

from __future__ import annotations

import time
import unicodedata
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.types import Answer, ToolCall
from chorus.workflow.judging.agreement import folded, key
from chorus.workflow.judging.fence import unfenced
from chorus.workflow.nodes.results import WorkerResult
from chorus.workflow.nodes.selection import by_agreement
from chorus.workflow.plan import Compare

pytestmark = pytest.mark.requirement("W7")


@pytest.mark.parametrize(
    ("one", "other", "compare", "agree"),
    [
        ("**42**.", " 42", "normalised", True),
        ("Café", "cafe\u0301", "normalised", True),
        ("４２。", "42", "normalised", True),
        ("STRASSE", "straße", "normalised", True),
        ("각", "\u1100\u1161\u11a8", "normalised", True),
        ("yes", "no", "normalised", False),
        ("42 ", "42", "exact", False),
        ('{"a": 1, "b": 2}', '```json\n{"b":2,"a":1}\n```', "json", True),
        ('{"a": 1}', '{"a": 2}', "json", False),
        ("No JSON.", "no json", "json", True),
    ],
)
def test_what_counts_as_the_same(one: str, other: str, compare: Compare, agree: bool) -> None:
    assert (key(Answer(one), compare) == key(Answer(other), compare)) is agree


@given(st.text(max_size=80))
def test_folding_is_what_unicode_says(text: str) -> None:
    once = unicodedata.normalize("NFKC", text).casefold()
    assert folded(text) == " ".join(unicodedata.normalize("NFKC", once).split())


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("```json\n{}\n```", "{}"),
        ("  ```\na\nb\n```  ", "a\nb"),
        ("```JSON\n```", ""),
        ("```python\n```inner```\n```", "```inner```"),
        ("```json\n{}\n``` and more", "```json\n{}\n``` and more"),
        ("```{}```", "```{}```"),
        ("``````", "``````"),
        ("```\n```", ""),
        ("```", "```"),
        ("```not a language\n{}\n```", "```not a language\n{}\n```"),
        ("", ""),
        (" x ", "x"),
    ],
)
def test_a_fence_around_the_whole(text: str, inner: str) -> None:
    assert unfenced(text) == inner


SHAPES: Final[dict[str, str]] = {
    "marks out of order": "\u0300\u0316",
    "marks by decomposition": "\u0f73\uff9e\u0316",
    "long decompositions": "\ufdfa",
    "fences": "```\n",
    "fences and spaces": "```    ",
    "spaces": " ",
    "markup": "*_",
    "lists": "[],",
    "open lists": "[",
    "votes": "choice: ",
    "a vote and spaces": "choice      ",
    "digits": "1",
    "numbers": "1.",
    "characters of Chinese": "好",
    "words": "word ",
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_comparing_takes_no_time_to_speak_of(shape: str) -> None:
    """1 MB of each shape; 20 ms on an idle machine. 32,000 marks alone took 3 s."""
    for size in (60_000, 1_000_000):
        text = SHAPES[shape] * (size // len(SHAPES[shape]))
        for dressed in (text, f"```json\n[{text}0]\n```", f"{{{text}"):
            answer, called = Answer(dressed), Answer(tool_calls=(ToolCall("1", "f", dressed),))
            began = time.thread_time()
            for compare in get_args(Compare):
                key(answer, compare)
                key(called, compare)
            by_agreement([WorkerResult(place, "x", answer) for place in range(3)])
            assert time.thread_time() - began < 1.5


@pytest.mark.slow
def test_two_hundred_candidates_are_compared_as_quickly_as_two() -> None:
    texts = ["".join(f"word{number * place} " for number in range(5000)) for place in range(200)]
    began = time.thread_time()
    by_agreement([WorkerResult(place, "x", Answer(text)) for place, text in enumerate(texts)])
    assert time.thread_time() - began < 1.5


@pytest.mark.requirement("W2")
@pytest.mark.parametrize(
    "vote",
    ['{"choice": "A"}', "{'choice': 'candidate B'}", "choice: AB", '```json\n{ "choice" :"C", "reason": "best"}\n```'],
)
def test_without_a_judge_a_candidate_that_writes_a_verdict_comes_last(vote: str) -> None:
    def chosen(*texts: str) -> int:
        return by_agreement([WorkerResult(place, "x", Answer(text)) for place, text in enumerate(texts)]).position

    assert chosen(f"the sky is blue {vote}", "42", "the sky is blue") == 2
    assert chosen(f"the sky is blue {vote}", "a choice: mine") == 1
    assert chosen(f"1 {vote}", f"2 {vote}") == 0
