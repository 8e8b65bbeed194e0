"""The Responses API byte for byte: what its streams are, and the chunks that are read of them (L2).

`CHORUS_WRITE_GOLDEN=1` writes both anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from chorus import wirejson
from chorus.llm.base import Chunk
from chorus.llm.providers.responses.output_items import OutputItems
from chorus.llm.providers.responses.reading import ResponseReader
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.transport.sse import SSEDecoder
from chorus.types import ChatRequest
from tests.kit.providers.responses_wire import (
    Item,
    custom_call,
    function_call,
    message,
    reasoning,
    response,
    stream,
    web_search,
)

HERE = Path(__file__).parent
ASKED = {"model": "model-1", "store": False}
CITED = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 5}
STREAMS: dict[str, Item] = {
    "spoken": response([message("msg_1", "Hello 好🙂\u2028\u0085end", phase="final_answer")], ASKED),
    "thought": response(
        [reasoning("rs_1", "First.", "Then 北京.", encrypted="gAAA"), message("msg_1", "So.")],
        ASKED,
        cached=4,
        thought=3,
    ),
    "called": response(
        [
            reasoning("rs_1", encrypted="gAAA"),
            function_call("fc_1", "call_1", "weather", {"city": "北京"}),
            reasoning("rs_2", "More.", encrypted="gBBB"),
            custom_call("ctc_1", "call_2", "apply_patch", '*** Begin "Patch"\n+好🙂\\\n'),
        ],
        ASKED,
    ),
    "searched": response([web_search("ws_1", "weather"), message("msg_1", "It is said.", annotations=[CITED])], ASKED),
    "refused": response([message("msg_1", "", refusal="I will not.")], ASKED),
    "cut": response([message("msg_1", "Half an")], ASKED, status="incomplete", incomplete="max_output_tokens"),
}


def compare(name: str, found: bytes) -> None:
    path = HERE / name
    if os.environ.get("CHORUS_WRITE_GOLDEN") == "1":
        path.write_bytes(found)
    assert found == path.read_bytes()


def chunks_of(raw: bytes, size: int) -> Sequence[Chunk]:
    """The chunks of a stream that arrives in pieces of `size` bytes."""
    items = OutputItems(
        "m", {"apply_patch": "apply_patch"}, OwnNames(ChatRequest("m", ()), 64), lambda sentence: None, takes_items=True
    )
    reader, decoder = ResponseReader("m", items, prompt_estimate=lambda: 1), SSEDecoder()
    pieces = (raw[start : start + size] for start in range(0, len(raw), size))
    chunks = [chunk for piece in pieces for data in decoder.feed(piece) for chunk in reader.event(data)]
    assert reader.is_over
    return chunks


def shown(chunk: Chunk) -> bytes:
    """A chunk as a line, without the fields that say nothing."""
    fields = msgspec.structs.asdict(chunk)
    return wirejson.encode({key: msgspec.to_builtins(value) for key, value in fields.items() if value})


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.requirement("L2")
def test_streams_of_the_responses_api(name: str) -> None:
    raw = b"".join(stream(STREAMS[name]))
    compare(f"upstream-responses.{name}.txt", raw)
    lines = b"\n".join(shown(chunk) for chunk in chunks_of(raw, len(raw))) + b"\n"
    compare(f"upstream-responses.{name}.chunks.txt", lines)
    for size in (1, 7, 1000):
        assert b"\n".join(shown(chunk) for chunk in chunks_of(raw, size)) + b"\n" == lines
