"""Streams and responses with something broken in them, in any cut: chunks that can be sent on, or a
typed error (L3).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from chorus.llm.base import Chunk
from chorus.llm.providers.responses.output_items import OutputItems
from chorus.llm.providers.responses.reading import ResponseReader
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.transport.sse import SSEDecoder
from chorus.types import ChatRequest
from tests.kit.providers.http import encoded
from tests.kit.providers.responses_wire import (
    custom_call,
    function_call,
    message,
    reasoning,
    response,
    stream,
    web_search,
)
from tests.llm.reading.test_fuzz_readers import PLACES, answers, check, cut, outcome

CITED = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
WHOLE = response(
    [
        reasoning("rs_1", "So.", encrypted="gAAA"),
        web_search("ws_1", "q"),
        message("msg_1", "fine 好 there", annotations=[CITED], phase="commentary"),
        function_call("fc_1", "c1", "look", {"a": [1, None, "北京"]}),
        custom_call("ctc_1", "c2", "patch", 'a "b"'),
    ],
    {"model": "m"},
)
STREAM = b"".join(stream(WHOLE)).replace("好".encode(), b"\\ud83d")

pytestmark = pytest.mark.requirement("L3")


def reader() -> ResponseReader:
    items = OutputItems(
        "m", {"patch": "patch"}, OwnNames(ChatRequest("m", ()), 64), lambda sentence: None, takes_items=True
    )
    return ResponseReader("m", items, prompt_estimate=lambda: 11)


def read_stream(parts: list[bytes]) -> Iterator[Chunk]:
    decoder, reading = SSEDecoder(), reader()
    for data in [*(data for part in parts for data in decoder.feed(part)), *decoder.flush()]:
        yield from reading.event(data)
        if reading.is_over:
            return
    raise reading.cut()


def read_body(parts: list[bytes]) -> Iterator[Chunk]:
    yield from reader().whole(b"".join(parts))


@settings(max_examples=120)
@given(raw=answers(STREAM), places=PLACES)
def test_streams(raw: bytes, places: list[int]) -> None:
    chunks, error = outcome(read_stream, [raw])
    check(chunks)
    assert outcome(read_stream, cut(raw, places)) == (chunks, error)


@settings(max_examples=120)
@given(raw=answers(encoded(WHOLE).replace("好".encode(), b"\\ud83d")))
def test_bodies(raw: bytes) -> None:
    chunks, _ = outcome(read_body, [raw])
    check(chunks)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_real_one_is_read(size: int) -> None:
    chunks, error = outcome(read_stream, cut(STREAM, list(range(0, len(STREAM), size))))
    assert error is None
    assert "".join(chunk.text for chunk in chunks) == "fine � there"
    assert chunks[-1].finish_reason == "tool_calls"
