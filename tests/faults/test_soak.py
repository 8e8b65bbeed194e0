"""The soak, short: mixed load with faults and clients that leave (L1, K2, W13).

Its long form also looks at memory: `python -m benchmarks.soak --minutes 10`.
"""

from __future__ import annotations

import json

import pytest

from benchmarks.load import BadAnswer
from benchmarks.soak.clients import Tally
from benchmarks.soak.endings import DIALECTS, Ending, ending
from benchmarks.soak.measure import run

CHAT = DIALECTS[0]
PIECE = b'data: {"choices":[{"delta":{"content":"yes"},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = {"error": {"message": "It is gone.", "code": "upstream_connect", "type": "api_error", "request_id": "req_1"}}


@pytest.mark.very_slow  # 15 s
@pytest.mark.requirement("L1")
@pytest.mark.requirement("W13")
def test_mixed_load_leaves_nothing_behind() -> None:
    for secs in (3, 10, 30):  # as long as it takes on a machine that others load
        soak = run(secs, clients=32, seed=1)
        assert soak.broken() == []
        if is_mixed(soak.tally):
            return
    pytest.fail(f"not all of the load came: {soak.tally}")


def is_mixed(tally: Tally) -> bool:
    """Whether clients have got answers and errors, and have left at every moment at which they
    can.
    """
    moments = {"while sending", "in a queue", "before the first token", "in mid-stream", "at any moment"}
    is_much = tally.answers > 100 and tally.left.total() > 100
    return is_much and moments <= set(tally.left) and tally.errors["upstream_connect"] > 0


def test_a_whole_answer_and_a_clear_error_are_endings() -> None:
    assert ending(CHAT, 200, PIECE + STOP + DONE, stream=True) == Ending(text="yes")
    body = json.dumps(ERROR).encode()
    assert ending(CHAT, 502, body, stream=True) == Ending(code="upstream_connect")
    assert ending(CHAT, 200, PIECE + b"data: " + body + b"\n\n", stream=True) == Ending(code="upstream_connect")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PIECE,
        PIECE + DONE,
        PIECE + STOP,
        PIECE + STOP + STOP + DONE,
        PIECE + STOP[:-1],
        PIECE + b"data: " + json.dumps(ERROR).encode() + b"\n\n" + DONE,
        PIECE + b'data: {"error":{"message":"","code":"x","request_id":"req_1"}}\n\n',
    ],
    ids=["nothing", "no-end", "no-stop", "no-done", "two-stops", "half", "error-and-done", "no-message"],
)
def test_anything_else_is_not(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        ending(CHAT, 200, body, stream=True)
