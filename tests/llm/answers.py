"""Answers of upstreams, written out as JSON texts, since Python writes neither NaN nor numbers of
5,000 digits.
"""

from __future__ import annotations

from chorus.llm.base import Chunk
from chorus.llm.counts import MAX_TOKENS
from chorus.usage import Usage
from tests.kit import Raw

FINE = '"fine"'
DONE = b"data: [DONE]\n\n"
ODD = [
    "-1", "3.5", "-0.5", "true", "false", "null", "NaN", "-Infinity", "1e400", "9223372036854775807", "1" * 400, "1" * 5000,
    str(MAX_TOKENS + 1), '""', '"n/a"', '"-5"', '"5.5"', '"\\ud83d"', '"a\tb"', "[]", "[1]", "{}", '{"a": [null]}',
]  # fmt: skip


def obj(**fields: str) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def delta(finish: str = "null", *, more: str = "", **fields: str) -> str:
    """A chunk of a stream; `more` goes beside the choice's own fields."""
    choice = f'{{"index": 0, "delta": {obj(**fields)}, "finish_reason": {finish}{more}}}'
    return obj(choices=f"[{choice}]")


def message(finish: str = '"stop"', *, more: str = "", **fields: str) -> str:
    """A whole answer of OpenAI's; `more` goes beside its choices."""
    return f'{{"choices": [{{"index": 0, "message": {obj(**fields)}, "finish_reason": {finish}}}]{more}}}'


def encoded(text: str) -> bytes:
    """`text` as bytes; a surrogate stands for one byte (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")


def events(*chunks: str) -> Raw:
    """A stream of OpenAI's, each event in a write of its own."""
    return Raw([*(b"data: " + encoded(each) + b"\n\n" for each in chunks), DONE])


def whole(body: str) -> Raw:
    return Raw([encoded(body)], content_type="application/json")


def lines(*each: str) -> Raw:
    """A stream of Ollama's."""
    return Raw([encoded(line) + b"\n" for line in each], content_type="application/x-ndjson")


def usage_of(chunks: list[Chunk]) -> Usage | None:
    return next((chunk.usage for chunk in chunks if chunk.usage is not None), None)


def reasoning_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.reasoning for chunk in chunks)


def calls_of(chunks: list[Chunk]) -> dict[int, tuple[str, str, str]]:
    """Id, name and arguments of each tool call."""
    calls: dict[int, tuple[str, str, str]] = {}
    for piece in (piece for chunk in chunks for piece in chunk.tool_calls):
        id, name, arguments = calls.get(piece.index, (piece.id or "", piece.name or "", ""))
        calls[piece.index] = (id, name, arguments + piece.arguments)
    return calls
