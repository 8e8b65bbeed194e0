"""Events as the store keeps them: another process makes the same trace of them."""

from __future__ import annotations

import pytest

from chorus.errors import RateLimited
from chorus.events import (
    Event,
    Fault,
    RunFailed,
    RunFinished,
    RunStarted,
    Shortcut,
    StageFinished,
    StageStarted,
)
from chorus.telemetry import kept_events
from chorus.telemetry.trace import workflow_details
from chorus.types import Answer, ToolCall
from chorus.usage import Usage

USAGE = Usage(12, 4, 3, 1, 0.5, True)
ANSWER = Answer(
    "four \u2028 é",
    "two and two",
    (ToolCall("call_1", "add", '{"a": 2}', {"x": 1}),),
    "tool_calls",
    USAGE,
    logprobs={"content": []},
    extra={"audio": {"data": "A" * 1000}},
)
STARTED: list[Event] = [
    RunStarted("wf_1", "req_1", "chorus", "chorus", 1795685170.25, 2, "title", ("a note",)),
    StageStarted(("0",), 0.5, "worker", "abacus", "demo-abacus", 0.7, "policy", False, 0, 2, True, 1),
    StageFinished(
        ("0",), 0.75, "failed", ANSWER, USAGE, Fault("upstream_error", "no"), 0.6, ("a", "b"), 0.1,
        {"warnings": ["x"], "scores": {"0": 1.5}}, (0.5, 0.6),
    ),
]  # fmt: skip
ENDS: list[list[Event]] = [
    [RunFinished(1.0, (ANSWER, Answer("x")), USAGE, 0.6, (Shortcut("quorum", ("0",), 2),), 3, True)],
    [RunFailed(1.0, RateLimited("Too many.", retry_after=3), "cancelled", USAGE)],
    [],
]


@pytest.mark.requirement("W9")
@pytest.mark.parametrize("end", ENDS)
def test_the_trace_of_kept_events_is_that_of_the_events(end: list[Event]) -> None:
    events: list[Event] = [*STARTED, *end]
    kept = kept_events.decoded(kept_events.encoded(events))
    assert workflow_details(kept, is_kept=True) == workflow_details(events, is_kept=True)


def test_what_no_trace_shows_is_not_kept() -> None:
    text = kept_events.encoded([*STARTED, *ENDS[0]])
    assert b"AAAA" not in text
    assert b"content" not in text
