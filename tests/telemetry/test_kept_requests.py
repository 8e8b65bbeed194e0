"""Requests that another process reads are those that were asked (W9, M8)."""

from __future__ import annotations

import msgspec
import pytest

from chorus.telemetry.kept_requests import decoded, encoded, packed
from chorus.types import ChatRequest, Image, Message, Opaque, Sampling, Text, ToolCall, Tools

pytestmark = pytest.mark.requirement("M8")

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "asked",
    [
        ChatRequest("m", (Message("user", "How? \u2028 Größe"),)),
        ChatRequest("m", (), prompt=(1, 2, 3), echo=True),
        ChatRequest(
            "chorus",
            (
                Message("system", "Be short."),
                Message(
                    "user",
                    (
                        Text("this", {"cache_control": {"type": "x"}}),
                        Image("data:image/png;base64,AA"),
                        Opaque({"a": [1]}),
                    ),
                ),
                Message("assistant", reasoning="hm", tool_calls=(ToolCall("c1", "look", "{}"),)),
                Message("tool", "seen", tool_call_id="c1"),
            ),
            sampling=Sampling(temperature=0.5, stop=("x",), seed=5),
            tools=Tools([TOOL]),
            tool_choice={"type": "function"},
            response_format={"type": "json_object"},
            reasoning_effort=True,
            keep_alive="5m",
            session="s",
            priority="batch",
            ollama_options={"num_ctx": 9},
            extra={"top_k": 3},
        ),
    ],
)
def test_what_is_read_is_what_was_asked(asked: ChatRequest) -> None:
    assert decoded(encoded([packed(asked), packed(asked)])) == [asked, asked]


def test_numbers_of_more_than_64_bits_stay_what_they_are() -> None:
    seeded = ChatRequest("m", (Message("user", "How?"),), sampling=Sampling(seed=10**30), tools=Tools([TOOL]))
    assert decoded(encoded([packed(seeded)])) == [seeded]


def test_requests_that_version_0_2_kept_are_read() -> None:
    kept = (
        b'[{"request":{"model":"m","messages":[{"role":"user","content":"How?"}],"tools":[]},'
        b'"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}],'
        b'"packed":{"extra":{"top_k":3}}}]'
    )
    asked = ChatRequest("m", (Message("user", "How?"),), tools=Tools([TOOL]), extra={"top_k": 3})
    assert decoded(kept) == [asked]


def test_what_cannot_be_read_is_one_kind_of_error() -> None:
    for damaged in (b"", b"[", b"{}", b"\x91\x83", b"\x91\x01"):
        with pytest.raises(msgspec.DecodeError):
            decoded(damaged)
