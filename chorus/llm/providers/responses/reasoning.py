"""Reasoning items of the Responses API as `reasoning_details`, and back as they came. Pure.

`reasoning_details` is OpenRouter's field: clients of chat know it, and every dialect of Chorus
brings it back (`server/dialects/opaque_reasoning.py`). An item becomes an entry for each of its
texts and one for its `encrypted_content`, all with the item's id. `before` names what stood behind
the item: a call by its `call_id`, another item by its id, or a message. OpenAI refuses reasoning in
another place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from chorus.llm.reading.lenient import string_of
from chorus.types import Extra
from chorus.wirejson import JSON

DETAILS: Final = "reasoning_details"
MESSAGE: Final = "message"
"""In `before`: the text of the same answer."""

_ID: Final = re.compile(r"rs[a-zA-Z0-9_-]{0,62}")
"""Ids of items that OpenAI takes.

Some servers refuse those that they made themselves; one without an id is taken by all, where
nothing is stored.
"""
_FORMAT: Final = "openai-responses-v1"
_SUMMARY: Final = "reasoning.summary"
_TEXT: Final = "reasoning.text"
_ENCRYPTED: Final = "reasoning.encrypted"


class Placed(NamedTuple):
    """A reasoning item, and what it stands before; None: at the beginning of its answer."""

    item: dict[str, Any]
    before: str | None


def name_of(item: Mapping[str, JSON]) -> str:
    """Return the name by which `before` knows an item that is no message."""
    return string_of(item.get("call_id")) or string_of(item.get("id"))


def details_of(item: Mapping[str, JSON], before: str | None) -> list[JSON]:
    """Return a reasoning item as entries of `reasoning_details`; none where there is nothing in it
    that could be sent back."""
    common: dict[str, JSON] = {"format": _FORMAT, "id": item.get("id"), **({"before": before} if before else {})}
    details: list[JSON] = [
        {"type": kind, field: text, **common}
        for kind, field, texts in (
            (_SUMMARY, "summary", _texts(item.get("summary"))),
            (_TEXT, "text", _texts(item.get("content"))),
        )
        for text in texts
    ]
    sealed = item.get("encrypted_content")
    if isinstance(sealed, str) and sealed:
        details.append({"type": _ENCRYPTED, "data": sealed, **common})
    return details


def items_of(extra: Extra) -> list[Placed]:
    """Return the reasoning items in the fields of a message, in their order.

    One without `encrypted_content` and text of its own is left out: nothing is stored at the
    upstream, which therefore does not know it by its id."""
    items: dict[str, Placed] = {}
    for entry in _ours(extra.get(DETAILS)):
        its_id = string_of(entry.get("id"))
        placed = items.get(its_id)
        if placed is None:
            new: dict[str, Any] = {
                "type": "reasoning",
                **({"id": its_id} if _ID.fullmatch(its_id) else {}),
                "summary": [],
            }
            placed = items[its_id] = Placed(new, string_of(entry.get("before")) or None)
        kind, item = entry.get("type"), placed.item
        if kind == _SUMMARY:
            item["summary"].append({"type": "summary_text", "text": string_of(entry.get("summary"))})
        elif kind == _TEXT:
            item.setdefault("content", []).append({"type": "reasoning_text", "text": string_of(entry.get("text"))})
        elif kind == _ENCRYPTED:
            item["encrypted_content"] = string_of(entry.get("data"))
    return [placed for placed in items.values() if placed.item.keys() & {"encrypted_content", "content"}]


def is_foreign(extra: Extra) -> bool:
    """Return whether a message has reasoning that another provider signed."""
    details = extra.get(DETAILS)
    return isinstance(details, list) and len(details) > sum(1 for _ in _ours(details))


def _ours(details: JSON) -> Iterator[Mapping[str, Any]]:
    for entry in details if isinstance(details, list) else ():
        if isinstance(entry, Mapping) and entry.get("format") == _FORMAT:
            yield entry


def _texts(parts: JSON) -> Iterator[str]:
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]
