"""The usage in answers that are relayed: of a whole object, of the end of a long one, of a stream's
last event (W11)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.reading.relayed_usage import TAIL_BYTES, WHOLE_BYTES, UsageReader
from chorus.usage import Usage

pytestmark = pytest.mark.requirement("W11")
USAGE = {"input_tokens": 5, "output_tokens": 40, "total_tokens": 45}
LONG = "x" * WHOLE_BYTES


def read(text: bytes, content_type: str = "application/json", size: int = 60_000) -> Usage | None:
    reader = UsageReader(content_type)
    for start in range(0, len(text), size):
        reader.feed(text[start : start + size])
    return reader.usage()


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usage": USAGE}, Usage(5, 40)),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 5}}, Usage(5)),
        ({"usage": {"total_tokens": 12}, "results": []}, Usage(12)),
        ({"usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 3}}}, Usage(5, 0, 3)),
        ({"usage": {"type": "duration", "seconds": 3}}, None),
        ({"meta": {"billed_units": {"search_units": 1}}}, None),
        ({"meta": {"billed_units": {"input_tokens": 7, "output_tokens": 1}}}, Usage(7, 1)),
        ({"meta": {"tokens": {"input_tokens": 9}, "billed_units": {"input_tokens": 7}}}, Usage(9)),
        ({"usage": None, "meta": None}, None),
        ({"usage": {"input_tokens": -1, "output_tokens": "n/a"}}, None),
        ({"usage": {"input_tokens": 10**12, "total_tokens": 3}}, Usage(3)),
        ([], None),
        ({"results": [{"document": {"usage": USAGE}}]}, None),
    ],
)
def test_of_a_whole_object(body: Any, usage: Usage | None) -> None:
    assert read(json.dumps(body).encode()) == usage


@pytest.mark.parametrize("size", [1_000, 60_000, 10**9])
def test_of_the_end_of_a_long_object(size: int) -> None:
    assert read(json.dumps({"data": [LONG], "usage": USAGE}).encode(), size=size) == Usage(5, 40)
    assert read(json.dumps({"data": [LONG], "usage": USAGE, "id": "x"}).encode(), size=size) == Usage(5, 40)


def test_a_usage_that_is_not_the_answers_own() -> None:
    assert read(json.dumps({"data": [LONG, {"usage": USAGE}], "id": 3}).encode()) is None
    assert read(json.dumps({"data": LONG + '"usage": {"input_tokens": 5}'}).encode()) is None
    assert read(json.dumps({"usage": USAGE, "data": [LONG]}).encode()) is None


def event(data: Any) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n", b": bye\n\n"])
@pytest.mark.parametrize("image", ["short", "x" * (3 * TAIL_BYTES), LONG])
def test_of_the_last_event(end: bytes, image: str) -> None:
    events = [event({"type": "a.partial", "b64": image}), event({"type": "a.done", "b64": image, "usage": USAGE})]
    assert read(b"".join(events) + end, "text/event-stream; charset=utf-8") == Usage(5, 40)


def test_what_is_neither() -> None:
    assert read(json.dumps({"usage": USAGE}).encode(), "audio/mpeg") is None
    assert read(b"", "application/json") is None
    assert read(b"[" * 100_000, "application/json") is None


@given(st.binary(max_size=300), st.sampled_from(["application/json", "text/event-stream"]), st.integers(1, 50))
def test_nothing_breaks_it(text: bytes, content_type: str, size: int) -> None:
    read(text, content_type, size)


def test_it_holds_little() -> None:
    reader = UsageReader("application/json")
    for _ in range(200):
        reader.feed(b"x" * 60_000)
    assert len(reader._held) <= 4 * TAIL_BYTES + 60_000
