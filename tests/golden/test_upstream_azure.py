"""Streams of Azure OpenAI, byte for byte, and the chunks that are read of them (L2).

The streams have the shapes of those in public issues: the prompt's filter in an event without
choices, filters beside each delta, and those of the asynchronous filter in events without one.
Written anew with `CHORUS_WRITE_GOLDEN=1`: the chunks, never the streams.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chorus import wirejson
from chorus.errors import LLMError
from chorus.llm.base import Chunk
from chorus.llm.providers.openai_reading import ChunkReader
from chorus.llm.transport.sse import SSEDecoder

HERE = Path(__file__).parent
STREAMS = sorted(path.name.split(".")[1] for path in HERE.glob("upstream-azure.*.txt") if "chunks" not in path.name)


def chunks_of(raw: bytes, size: int) -> list[Chunk | LLMError]:
    """What is read of a stream whose bytes come in parts of `size`; an error ends it."""
    reader, decoder, chunks = ChunkReader("gpt", prompt_estimate=lambda: 5), SSEDecoder(), list[Chunk | LLMError]()
    is_done = False
    try:
        for start in range(0, len(raw), size):
            for data in decoder.feed(raw[start : start + size]):
                is_done = data.startswith(b"[DONE]")
                if not is_done and (chunk := reader.read(data)) is not None:
                    chunks.append(chunk)
        chunks.append(reader.end(done=is_done))
    except LLMError as error:
        chunks.append(error)
    return chunks


def shown(chunk: Chunk | LLMError) -> bytes:
    """A chunk on one line, without what it does not say."""
    if isinstance(chunk, LLMError):
        return wirejson.encode({"error": type(chunk).__name__, "message": chunk.message})
    fields: dict[str, Any] = {
        name: value for name, value in msgspec.to_builtins(chunk).items() if value not in (None, "", [], ())
    }
    if chunk.usage is not None:
        fields["usage"] = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens]
    return wirejson.encode(fields)


def test_there_are_streams() -> None:
    assert {"spoken", "asynchronous", "called", "filtered", "filtered-whole", "failed", "cut"} <= set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.requirement("L2")
def test_what_is_read_of_a_stream(name: str, size: int) -> None:
    raw = (HERE / f"upstream-azure.{name}.txt").read_bytes()
    found = b"\n".join(map(shown, chunks_of(raw, size))) + b"\n"
    path = HERE / f"upstream-azure.{name}.chunks.txt"
    if os.environ.get("CHORUS_WRITE_GOLDEN") == "1":
        path.write_bytes(found)
    assert found == path.read_bytes()
