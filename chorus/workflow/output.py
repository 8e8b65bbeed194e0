"""A model's answer as deltas in the journal, of one kind each, in the order of upstreams.

Strict clients (Haystack) refuse a chunk that mixes text, reasoning and tool calls; OpenAI never
sends one.
"""

from __future__ import annotations

from chorus.events import Delta, Path
from chorus.journal import Journal
from chorus.llm.base import Chunk
from chorus.types import Answer, ToolPiece


def write_chunk(journal: Journal, path: Path, at: float, chunk: Chunk, choice: int | None) -> None:
    """Write one chunk of an upstream: reasoning, then text, then tool calls. `choice` as in
    `Delta`."""
    text, reasoning, calls = chunk.text, chunk.reasoning, chunk.tool_calls
    is_mixed = (text and (reasoning or calls)) or (reasoning and calls)
    if not is_mixed:  # most chunks by far
        journal.write(Delta(path, at, text, reasoning, calls, chunk.logprobs, choice, chunk.extra))
        return
    if reasoning:
        journal.write(Delta(path, at, reasoning=reasoning, choice=choice))
    if text or chunk.logprobs is not None or chunk.extra is not None:
        journal.write(Delta(path, at, text, logprobs=chunk.logprobs, choice=choice, extra=chunk.extra))
    if calls:
        journal.write(Delta(path, at, tool_calls=calls, choice=choice))


def write_answer(journal: Journal, path: Path, at: float, answer: Answer, choice: int) -> None:
    """Write a whole answer as output, as if its upstream had streamed it; tool calls one by one."""
    chunk = Chunk(answer.text, answer.reasoning, logprobs=answer.logprobs, extra=answer.extra or None)
    if answer.text or answer.reasoning or answer.extra or not answer.tool_calls:
        write_chunk(journal, path, at, chunk, choice)
    for index, call in enumerate(answer.tool_calls):
        piece = ToolPiece(index, call.id, call.name, call.arguments, call.extra or None)
        journal.write(Delta(path, at, tool_calls=(piece,), choice=choice))
