"""Marks of the prompt cache: where a prefix ends that later calls have in common. Pure.

A mark costs nothing where the prefix is shorter than the model caches; else writing it costs a
quarter more than reading it would, and each later call reads it for a tenth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from chorus.llm.providers.anthropic.blocks import Block

MAX_MARKS: Final = 4
"""Marks that one request may have; the API refuses more."""
_MARK: Final = {"type": "ephemeral"}
_LONG: Final = "1h"
"""The `ttl` of marks that hold longer than five minutes; none may stand behind a shorter one."""
UNMARKED: Final = frozenset({"thinking", "redacted_thinking"})
"""Blocks that take no mark."""


def mark_prefix(
    tools: Sequence[Block], system: Sequence[Block], turns: Sequence[dict[str, Any]], shared_end: Block | None
) -> None:
    """Mark the end of the conversation, of the system prompt and of the tools for the prompt cache.

    In this order, as far as the client's own marks leave room.
    """
    used = sum("cache_control" in block for block in _all_blocks(tools, system, turns))
    ends = [shared_end, system[-1] if system else None, tools[-1] if tools else None]
    for block in ends:
        if block is None or block["type" if "type" in block else "name"] in UNMARKED or "cache_control" in block:
            continue
        if used == MAX_MARKS:
            return
        block["cache_control"] = dict(_MARK)
        used += 1


def order_marks(tools: Sequence[Block], system: Sequence[Block], turns: Sequence[dict[str, Any]]) -> None:
    """Let each mark in front of one that holds an hour hold as long, which the API demands.

    Marks of ours hold five minutes, and a system message in mid-conversation goes to the front.
    """
    is_long = False
    for block in reversed([block for block in _all_blocks(tools, system, turns) if "cache_control" in block]):
        mark = block["cache_control"]
        is_long = is_long or mark.get("ttl") == _LONG
        if is_long and mark.get("ttl") != _LONG:
            block["cache_control"] = {**mark, "ttl": _LONG}


def keep_few_marks(tools: Sequence[Block], system: Sequence[Block], turns: Sequence[dict[str, Any]]) -> int:
    """Take away the earliest marks beyond `MAX_MARKS`, and return how many.

    A workflow's own system prompt, or two messages that became one turn, may bring some together.
    """
    marked = [block for block in _all_blocks(tools, system, turns) if "cache_control" in block]
    for block in marked[: max(0, len(marked) - MAX_MARKS)]:
        del block["cache_control"]
    return max(0, len(marked) - MAX_MARKS)


def _all_blocks(tools: Sequence[Block], system: Sequence[Block], turns: Sequence[dict[str, Any]]) -> Iterator[Block]:
    """Yield every block that may have a mark, in the order in which the prompt has them."""
    yield from tools
    yield from system
    for turn in turns:
        yield from turn["content"]
