"""Read the embeddings out of an upstream's answer, of OpenAI's API or Ollama's (A4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from anyio.lowlevel import checkpoint

from chorus.errors import UpstreamProtocol
from chorus.llm.counts import count_of, input_estimate
from chorus.llm.embed import Embeddings, EmbedInput
from chorus.llm.reading.lenient import REFUSED, normalised
from chorus.usage import Usage
from chorus.wirejson import JSON

MAX_NUMBERS: Final = 8_000_000
"""Numbers of one answer, each of which takes 32 bytes. OpenAI's largest has 2048 vectors of
3072."""

_TURN_BYTES: Final = 512 * 1024
"""Bytes of vectors that are read between two looks at the event loop: 6 ms."""

T = TypeVar("T")


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: JSON = None


class _OpenAIVectors(msgspec.Struct):
    data: list[msgspec.Raw]
    usage: JSON = None


class _OllamaVectors(msgspec.Struct):
    embeddings: list[msgspec.Raw]
    prompt_eval_count: JSON = None


_read_openai = msgspec.json.Decoder(_OpenAIVectors).decode
_read_ollama = msgspec.json.Decoder(_OllamaVectors).decode
_read_entry = msgspec.json.Decoder(_Vector).decode
_read_numbers = msgspec.json.Decoder(list[float]).decode


async def read_openai(raw: bytes, inputs: Sequence[EmbedInput], name: str) -> Embeddings:
    """Return the embeddings of `inputs` out of an OpenAI-compatible answer.

    `name` is the model's, for errors.

    Raises:
        UpstreamProtocol: there is not one vector for each of `inputs`.
    """
    body = _read(raw, _read_openai, name)
    entries = await _decoded(body.data, _read_entry)
    places = [count_of(entry.index) for entry in entries]
    by_place = {place: entry.embedding for place, entry in zip(places, entries, strict=True)}
    vectors = [entry.embedding for entry in entries]
    # else they are in the order in which they were sent
    if by_place.keys() == set(range(len(entries))):
        vectors = [by_place[place] for place in range(len(entries))]
    counts = body.usage if isinstance(body.usage, dict) else {}
    tokens = count_of(counts.get("prompt_tokens"))
    if tokens is None:
        tokens = count_of(counts.get("total_tokens"))
    return Embeddings(checked(vectors, inputs, name), _usage(tokens, inputs))


async def read_ollama(raw: bytes, inputs: Sequence[EmbedInput], name: str) -> Embeddings:
    """Return the same out of Ollama's answer."""
    body = _read(raw, _read_ollama, name)
    vectors = await _decoded(body.embeddings, _read_numbers)
    return Embeddings(checked(vectors, inputs, name), _usage(count_of(body.prompt_eval_count), inputs))


def checked(vectors: list[list[float]], inputs: Sequence[EmbedInput], name: str) -> list[list[float]]:
    """`vectors` when there is one for each of `inputs`.

    Raises:
        UpstreamProtocol: there is not; results would go to the wrong texts.
    """
    if len(vectors) != len(inputs):
        raise UpstreamProtocol(f"Upstream '{name}' sent {len(vectors)} embeddings for {len(inputs)} inputs")
    return vectors


def _read(raw: bytes, decode: Callable[[bytes], T], name: str) -> T:
    """Return the answer, its vectors not yet read."""
    if raw.count(b",") > MAX_NUMBERS:
        raise UpstreamProtocol(f"Upstream '{name}' sent more than {MAX_NUMBERS} numbers")
    try:
        try:
            return decode(raw)
        except REFUSED:
            return decode(normalised(raw))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise UpstreamProtocol(f"Upstream '{name}' sent something that is no list of embeddings") from None


async def _decoded(entries: Sequence[msgspec.Raw], decode: Callable[[msgspec.Raw], T]) -> list[T]:
    """Return those of `entries` that can be read; others have their turn in between."""
    decoded: list[T] = []
    size = 0
    for entry in entries:
        try:
            decoded.append(decode(entry))
        except REFUSED:
            continue
        size += memoryview(entry).nbytes
        if size >= _TURN_BYTES:
            size = 0
            await checkpoint()
    return decoded


def _usage(tokens: int | None, inputs: Sequence[EmbedInput]) -> Usage:
    """Return the usage of a call, estimated where the upstream does not tell it."""
    return Usage(input_estimate(inputs), estimated=True) if tokens is None else Usage(tokens)
