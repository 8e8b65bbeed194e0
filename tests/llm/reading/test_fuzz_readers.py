"""Any bytes at all, and real answers with something broken in them, in any cut: nothing but chunks
that can be sent on comes of them, or a typed error, and it takes little time (L3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus.errors import LLMError, UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.counts import MAX_TOKENS
from chorus.llm.providers.embeddings import read_ollama, read_openai
from chorus.llm.providers.ollama_reading import LineReader
from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.providers.rerank import read_scores
from chorus.llm.reading.error_bodies import error_text
from chorus.llm.transport.ndjson import NDJSONDecoder
from chorus.llm.transport.sse import SSEDecoder

pytestmark = pytest.mark.requirement("L3")

STREAM = """\ufeff: hello

data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm \\ud83d"},"finish_reason":null}]}

event: message
id: 7
data: {"choices":[{"index":0,"delta":{"reasoning_content":"\\ude00"}}]}

data: {"choices":[{"index":0,"delta":{"content":"<think>so 🙂</thi"}}]}

data: {"choices":[{"index":0,"delta":{"content":"nk>\\n\\nfine \\ud83d"},"logprobs":{"content":[{"token":"fine","logprob":-0.1,"bytes":[102],"top_logprobs":[]}]}}]}

data: {"choices":[{"index":0,"delta":{"content":"\\ude00 and 好"}}],
data: "usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":5}}}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\": \\"\\ud83d"}},{"index":1,"function":{"arguments":{"b":[1.5,null,true]}}}]}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":3.5}}

data: [DONE]

""".encode()
LINES = """{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"<think>hm</think>","thinking":"so \\ud83d"},"done":false}

{"message":{"role":"assistant","content":"fine \\ud83d","thinking":"\\ude00"},"done":false}
{"response":"\\ude00 and 好","thinking":null,"done":false}
{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"city":"北京","n":[1,2.5,null]}}}]},"done":false}
{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":7,"eval_count":3}
""".encode()
WHOLE = """{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"<think>hm</think>fine 好 \\ud83d","reasoning_content":null,"refusal":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}},{"function":{"name":"g","arguments":{"b":[1,2]}}}]},"logprobs":{"content":[{"token":"x","logprob":-1.5}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":2}}}""".encode()
VECTORS = b'{"object":"list","data":[{"index":1,"embedding":[0.5,-1e-3]},{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":7,"total_tokens":7}}'
EMBEDDINGS = b'{"model":"m","embeddings":[[0.5,1],[1,2]],"total_duration":5,"prompt_eval_count":7}'
SCORES = b'{"id":"x","results":[{"index":1,"relevance_score":0.5,"document":{"text":"b"}},{"index":0,"score":2}],"usage":{"total_tokens":7}}'
ERROR = b'{"error":{"message":"it broke \\ud83d","type":"server_error","param":null,"code":"content_filter"}}'

TRICKY = [
    b"", b" ", b"\r", b"\n", b"\r\n\r\n", b"data: ", b"data:\n", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"true",
    b"NaN", b"-Infinity", b"-1", b"3.5", b"1e999", b"9223372036854775808", b"9" * 5000, b"\\ud83d", b"\\ude00", b"\\udcff", b"\\u0000",
    b"\xff", b"\xf0\x9f", b"\x98\x80", b"\xed\xa0\xbd", b"\xed\xb8\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x00", b"[" * 200, b"[]" * 200,
    b"<think>", b"</think>", b"<html>", b"[DONE]", b'"error":{"message":5},', b'"finish_reason":"length"', b'"index":1e18', b"{}" * 50,
]  # fmt: skip
TRUTH = st.sampled_from(TRICKY) | st.binary(max_size=8)
EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 12), TRUTH), max_size=6)
PLACES = st.lists(st.integers(0, 3000), max_size=20)


def edited(raw: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """`raw`, where at each of these places so many bytes have become others."""
    for place, length, new in edits:
        at = place % (len(raw) + 1)
        raw = raw[:at] + new + raw[at + length :]
    return raw


def answers(real: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are nearly `real`, or made of what JSON is made of, or any."""
    near = EDITS.map(lambda edits: edited(real, edits))
    return near | st.lists(st.sampled_from(TRICKY), max_size=40).map(b"".join) | st.binary(max_size=300)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


def read_stream(parts: list[bytes]) -> Iterator[Chunk]:
    decoder, reader = SSEDecoder(), ChunkReader("m", prompt_estimate=lambda: 11, logprobs=True)
    for data in [*(data for part in parts for data in decoder.feed(part)), *decoder.flush()]:
        if data.startswith(b"[DONE]"):
            yield reader.end(done=True)
            return
        if (chunk := reader.read(data)) is not None:
            yield chunk
    yield reader.end(done=False)


def read_lines(parts: list[bytes]) -> Iterator[Chunk]:
    decoder, reader = NDJSONDecoder(), LineReader("m", prompt_estimate=lambda: 11)
    for line in [*(line for part in parts for line in decoder.feed(part)), *decoder.flush()]:
        yield reader.read(line)
        if reader.done:
            return
    raise UpstreamProtocol("ended")


def read_body(parts: list[bytes]) -> Iterator[Chunk]:
    yield read_whole(b"".join(parts), "m", prompt_estimate=lambda: 11, logprobs=True)


def outcome(read: Callable[[list[bytes]], Iterator[Chunk]], parts: list[bytes]) -> tuple[list[Chunk], str | None]:
    """The chunks, and the error that ended them."""
    chunks: list[Chunk] = []
    began = time.process_time()
    try:
        chunks.extend(read(parts))
        error = None
    except LLMError as problem:
        problem.message.encode()
        error = problem.code
    assert time.process_time() - began < 1
    return chunks, error


def check(chunks: list[Chunk]) -> None:
    """What is sent on can be written, and counts are counts."""
    for chunk in chunks:
        msgspec.json.encode(chunk)
        if chunk.usage is not None:
            assert 0 <= chunk.usage.prompt_tokens <= MAX_TOKENS
            assert 0 <= chunk.usage.completion_tokens <= MAX_TOKENS
            assert 0 <= chunk.usage.cached_tokens <= chunk.usage.prompt_tokens
            assert 0 <= chunk.usage.reasoning_tokens <= MAX_TOKENS
        for piece in chunk.tool_calls:
            assert 0 <= piece.index < 1024


@settings(max_examples=120)
@given(raw=answers(STREAM), places=PLACES)
def test_streams(raw: bytes, places: list[int]) -> None:
    chunks, error = outcome(read_stream, [raw])
    check(chunks)
    assert outcome(read_stream, cut(raw, places)) == (chunks, error)


@settings(max_examples=120)
@given(raw=answers(LINES), places=PLACES)
def test_lines(raw: bytes, places: list[int]) -> None:
    chunks, error = outcome(read_lines, [raw])
    check(chunks)
    assert outcome(read_lines, cut(raw, places)) == (chunks, error)


@settings(max_examples=120)
@given(raw=answers(WHOLE))
def test_bodies(raw: bytes) -> None:
    chunks, _ = outcome(read_body, [raw])
    check(chunks)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_the_real_ones_say_what_they_say(size: int) -> None:
    streamed, lined = (
        outcome(read, [raw[at : at + size] for at in range(0, len(raw), size)])
        for read, raw in ((read_stream, STREAM), (read_lines, LINES))
    )
    for chunks, error in (streamed, lined):
        assert error is None
        assert "".join(chunk.text for chunk in chunks) == "fine 😀 and 好"
        assert chunks[-1].finish_reason == "tool_calls"
    assert "".join(chunk.reasoning for chunk in streamed[0]) == "hm 😀so 🙂"
    assert "".join(chunk.reasoning for chunk in lined[0]) == "so hm😀"


@settings(max_examples=80)
@given(raw=answers(VECTORS), other=answers(EMBEDDINGS))
def test_embeddings(raw: bytes, other: bytes) -> None:
    async def read() -> None:
        for reading, body in ((read_openai, raw), (read_ollama, other)):
            try:
                found = await reading(body, ["a", "b"], "m")
            except LLMError:
                continue
            assert len(found.vectors) == 2
            assert 0 <= found.usage.prompt_tokens <= MAX_TOKENS
            msgspec.json.encode(found)

    anyio.run(read)


@settings(max_examples=80)
@given(raw=answers(SCORES))
def test_scores(raw: bytes) -> None:
    try:
        scores = read_scores(raw, 2, "m")
    except LLMError:
        return
    assert len(scores) == 2
    assert all(abs(score) < 2e308 for score in scores)


@settings(max_examples=80)
@given(raw=answers(ERROR))
def test_errors(raw: bytes) -> None:
    error_text(raw).encode()
