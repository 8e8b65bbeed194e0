"""The short way to read chunks gives what the long way gives."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus.llm.providers.openai_reading import ChunkReader

TEXTS = st.text(max_size=8) | st.sampled_from(["probe of chorus", '"', "\\", '","x":"', "m", "content"])


def chunk(text: object, **other: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **other}).encode()


def texts(chunks: list[bytes], *, fresh: bool) -> list[tuple[str, str]]:
    """The text and reasoning of each chunk, by one reader, or by one each that knows nothing of
    those before.
    """
    reader = ChunkReader("m", prompt_estimate=lambda: 1, logprobs=False)
    reader.read(chunk("begins"))
    found = []
    for data in chunks:
        if fresh:
            reader = ChunkReader("m", prompt_estimate=lambda: 1, logprobs=False)
            reader.read(chunk("begins"))
        read = reader.read(data)
        found.append((read.text, read.reasoning) if read is not None else ("", ""))
    return found


@given(st.lists(TEXTS, max_size=12))
@settings(deadline=None)
def test_both_ways_read_the_same(written: list[str]) -> None:
    chunks = [chunk(text) for text in written if text]
    assert texts(chunks, fresh=False) == texts(chunks, fresh=True) == [(text, "") for text in written if text]


@pytest.mark.parametrize(
    "odd",
    [
        chunk("a", note={"content": "b"}),
        chunk("a") + b" ",
        chunk("a").replace(b'"content": "a"', b'"content": "a", "reasoning_content": "why"'),
        chunk("a").replace(b'"content": "a"', b'"content": "c", "content": "a"'),
        chunk("a", id="y"),
        chunk(None),
        chunk(["a"]),
        chunk("a").replace(b'"a"', b'"\\u0061"'),
        chunk("a").replace(b'"a"', b"1"),
    ],
)
def test_a_chunk_of_another_form_is_read_as_it_is(odd: bytes) -> None:
    chunks = [chunk("one"), chunk("two"), odd, chunk("three"), odd, odd, chunk("four")]
    assert texts(chunks, fresh=False) == texts(chunks, fresh=True)


def test_chunks_with_numbers_of_their_own_are_read_too() -> None:
    chunks = [chunk(f"word {n}", id=f"chunk-{n}") for n in range(20)]
    assert texts(chunks, fresh=False) == [(f"word {n}", "") for n in range(20)]
