"""Streams of Anthropic's Messages API, byte for byte, and the chunks that are read of them (L2).

The streams have the shape of those in Anthropic's page on streaming messages. Written anew with
`CHORUS_WRITE_GOLDEN=1`: the chunks, never the streams.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from chorus import wirejson
from chorus.errors import LLMError
from chorus.llm.base import Chunk
from chorus.llm.providers.anthropic.stream import EventReader
from chorus.llm.transport.sse import SSEDecoder

HERE = Path(__file__).parent
STREAMS = sorted(path.name.split(".")[1] for path in HERE.glob("upstream-anthropic.*.txt") if "chunks" not in path.name)


def chunks_of(raw: bytes, size: int) -> list[Chunk | LLMError]:
    """What is read of a stream whose bytes come in parts of `size`; an error ends it."""
    reader, decoder, chunks = EventReader("claude", prompt_estimate=lambda: 5), SSEDecoder(), list[Chunk | LLMError]()
    try:
        for start in range(0, len(raw), size):
            for data in decoder.feed(raw[start : start + size]):
                if (chunk := reader.read(data)) is not None:
                    chunks.append(chunk)
        chunks.append(reader.end())
    except LLMError as error:
        chunks.append(error)
    return chunks


def shown(chunk: Chunk | LLMError) -> bytes:
    """A chunk on one line, without what it does not say."""
    if isinstance(chunk, LLMError):
        return wirejson.encode({"error": type(chunk).__name__, "message": chunk.message})
    fields = {name: value for name, value in msgspec.to_builtins(chunk).items() if value not in (None, "", [])}
    return wirejson.encode(fields)


def test_there_are_streams() -> None:
    assert {"spoken", "called", "thought", "searched", "refused", "overloaded", "cut"} <= set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.requirement("L2")
def test_what_is_read_of_a_stream(name: str, size: int) -> None:
    raw = (HERE / f"upstream-anthropic.{name}.txt").read_bytes()
    found = b"\n".join(map(shown, chunks_of(raw, size))) + b"\n"
    path = HERE / f"upstream-anthropic.{name}.chunks.txt"
    if os.environ.get("CHORUS_WRITE_GOLDEN") == "1":
        path.write_bytes(found)
    assert found == path.read_bytes()
