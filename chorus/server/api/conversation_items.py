"""Items of a conversation as stored: with ids, and messages with content parts and a status."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chorus import wirejson
from chorus.errors import InvalidRequest, MissingInput
from chorus.server.dialects.responses import inputs
from chorus.server.dialects.responses.tools import ToolTable
from chorus.server.dialects.warnings import Warnings
from chorus.storage.records import Item
from chorus.wirejson import JSON

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "cto",
    "compaction": "cmp",
}
_MAX_ID_CHARS: Final = 128


def stored_items(given: Sequence[JSON], param: str, status: str = "completed") -> list[Item]:
    """Return `given`, input or output items of the Responses API, as they are stored and listed.

    An item keeps its own id, and gets one where it has none. `status` is that of messages without
    one.

    Raises:
        InvalidRequest: an item has an unknown shape; its place in `param` is named.
    """
    _check(given, param)
    return [stored_item(item, status) for item in given if isinstance(item, Mapping)]


def stored_item(item: Mapping[str, Any], status: str = "completed", unique: str | None = None) -> Item:
    """Return one item as `stored_items` does, without checking its shape. `unique` makes the id of
    one that has none; else that is random."""
    kind = item.get("type", "message")
    item_id = item.get("id")
    if not isinstance(item_id, str) or not 0 < len(item_id) <= _MAX_ID_CHARS:
        item_id = f"{_PREFIXES.get(kind, 'item')}_{unique or secrets.token_hex(24)}"
    stored: dict[str, JSON] = {**item, "type": kind, "id": item_id}
    if kind == "message":
        content = item.get("content")
        if isinstance(content, str) and item.get("role") == "assistant":
            stored["content"] = [{"type": "output_text", "text": content, "annotations": []}]
        elif isinstance(content, str):
            stored["content"] = [{"type": "input_text", "text": content}]
        elif content is None:
            stored["content"] = []
        stored.setdefault("status", status)
        stored.setdefault("role", "user")
    return Item(item_id, wirejson.encode(stored))


def _check(given: Sequence[JSON], param: str) -> None:
    for position, item in enumerate(given):
        place = f"{param}[{position}]"
        if not isinstance(item, Mapping) or not isinstance(item.get("type", "message"), str):
            raise InvalidRequest(f"Invalid value for '{place}': expected an item.", param=place)
        try:
            inputs.messages(None, [item], None, None, ToolTable(()), Warnings())
        except MissingInput:
            pass  # an item that says nothing to a model, such as reasoning
        except InvalidRequest as problem:
            own = problem.param.replace("input[0]", place, 1) if problem.param else place
            raise InvalidRequest(problem.message.replace("input[0]", place), param=own) from None
