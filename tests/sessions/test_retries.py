"""Exchanges that failed and were asked again."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.sessions.retries import without_retries

pytestmark = pytest.mark.requirement("M3")
Items = list[dict[str, Any]]


def asked(text: str) -> Items:
    return [
        {"type": "message", "id": f"id of {text}", "role": "user", "content": [{"type": "input_text", "text": text}]}
    ]


def answered(text: str, status: str = "completed") -> Items:
    return [
        {"type": "message", "role": "assistant", "status": status, "content": [{"type": "output_text", "text": text}]}
    ]


FAILED = answered("", "incomplete")
CUT = answered("Onc", "incomplete")
SYSTEM: Items = [{"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}]
RESULT: Items = [{"type": "function_call_output", "call_id": "call_1", "output": "4"}]
CALL: Items = [{"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}]


@pytest.mark.parametrize(
    ("items", "question", "expected"),
    [
        ([*asked("a"), *FAILED], asked("a"), []),
        ([*asked("a"), *FAILED, *asked("a"), *CUT], asked("a"), []),
        ([*asked("a"), *FAILED, *asked("a"), *answered("A")], asked("b"), [*asked("a"), *answered("A")]),
        ([*asked("a"), *CUT], asked("go on"), [*asked("a"), *CUT]),
        ([*asked("a"), *answered("A")], asked("a"), [*asked("a"), *answered("A")]),
        ([*SYSTEM, *asked("a"), *FAILED], asked("a"), SYSTEM),
        ([*asked("a"), *CALL, *RESULT, *FAILED], RESULT, [*asked("a"), *CALL]),
        ([], asked("a"), []),
    ],
)
def test_a_question_that_is_asked_again_is_there_once(items: Items, question: Items, expected: Items) -> None:
    assert without_retries(items, question) == expected


def test_a_plain_text_is_the_same_question() -> None:
    assert without_retries([*asked("a"), *FAILED], [{"role": "user", "content": "a"}]) == []
