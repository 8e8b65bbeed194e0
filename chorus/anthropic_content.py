"""Anthropic's content blocks in the extra fields of a message, for its dialect and its provider.

Pure.

Thinking stands in `reasoning_details`, as OpenRouter writes it, since chat completions have a place
for them. A turn whose text, reasoning and calls do not say all of it has its blocks in
`anthropic_content` as well: tools that run at Anthropic, thinking between texts, documents with
citations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chorus.types import Extra
from chorus.wirejson import JSON

CONTENT: Final = "anthropic_content"
"""The blocks of a turn in their order."""
STOP: Final = "anthropic_stop"
"""`stop_reason` and `stop_sequence` of an answer, where no finish reason says the same."""
CITATION: Final = "anthropic_citation"
"""In an annotation: the citation as it came."""
FORMAT: Final = "anthropic-claude-v1"
"""The `format` of thinking in `reasoning_details`."""
DIRECT: Final = {"type": "direct"}
"""The `caller` of a tool that the model itself calls."""
_RANKS: Final = {"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}
"""Blocks for which a message has a place, by the order in which they are written from it."""


class Order:
    """Tells whether blocks are those of a common turn: thinking, then text, then calls."""

    __slots__ = ("_rank",)

    def __init__(self) -> None:
        self._rank = 0

    def is_unusual(self, block: Mapping[str, JSON]) -> bool:
        """Return whether `block`, which comes next, has no place in a message as it stands here."""
        rank = _RANKS.get(str(block.get("type")))
        if rank is None or rank < self._rank or block.get("citations"):
            return True
        self._rank = rank
        return block.get("caller") not in (None, DIRECT)


def has_place(block: Mapping[str, JSON]) -> bool:
    """Return whether a message has a place for this kind of block."""
    return block.get("type") in _RANKS


def detail_of(block: Mapping[str, JSON], index: int) -> dict[str, JSON] | None:
    """Return a block of thinking as an entry of `reasoning_details`.

    None of any other, and of one without a signature.
    """
    kind, signature, data = block.get("type"), block.get("signature"), block.get("data")
    fields: dict[str, JSON]
    if kind == "thinking" and isinstance(signature, str) and signature:
        fields = {"type": "reasoning.text", "text": block.get("thinking") or "", "signature": signature}
    elif kind == "redacted_thinking" and isinstance(data, str) and data:
        fields = {"type": "reasoning.encrypted", "data": data}
    else:
        return None
    return {**fields, "format": FORMAT, "index": index}


def thinking_of(extra: Extra) -> list[dict[str, Any]]:
    """Return the blocks of thinking in `reasoning_details`.

    Reasoning of other providers is none. A client that keeps the pieces of a stream as they came
    has texts without a signature, and at last the signature.
    """
    details = extra.get("reasoning_details")
    blocks: list[dict[str, Any]] = []
    before = ""
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, Mapping) or detail.get("format") != FORMAT:
            continue
        if (block := _block_of(detail)) is None:
            before += str(detail.get("text") or "")
            continue
        if before and block["type"] == "thinking":
            block["thinking"] = before + block["thinking"]
        before = ""
        blocks.append(block)
    return blocks


def _block_of(detail: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return an entry of `reasoning_details` as the block that it was.

    None where it has no signature.
    """
    text, signature, data = detail.get("text"), detail.get("signature"), detail.get("data")
    if detail.get("type") == "reasoning.text" and isinstance(signature, str) and signature:
        return {"type": "thinking", "thinking": text if isinstance(text, str) else "", "signature": signature}
    if detail.get("type") == "reasoning.encrypted" and isinstance(data, str) and data:
        return {"type": "redacted_thinking", "data": data}
    return None


def blocks_of(extra: Extra) -> list[dict[str, Any]]:
    """Return the blocks of a turn as they were; none where they do not stand in `extra`."""
    given = extra.get(CONTENT)
    if not isinstance(given, list) or not all(isinstance(block, Mapping) and "type" in block for block in given):
        return []
    return [dict(block) for block in given]


def text_of(blocks: Iterable[Mapping[str, JSON]]) -> str:
    """Return the text of all blocks of text."""
    return "".join(str(block.get("text") or "") for block in blocks if block["type"] == "text")
