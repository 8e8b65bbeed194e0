"""Results of tools whose calls stand in the history of a conversation, not in the request (M3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chorus.server.dialects.open_calls import OpenCalls
from chorus.types import ToolCall
from chorus.wirejson import JSON

_RESULTS: Final = ("tool", "function")


def needs_ids(messages: JSON) -> bool:
    """Return whether `messages` of a request have a result that does not name its call."""
    return isinstance(messages, list) and any(map(_lacks_id, messages))


def with_call_ids(messages: Sequence[JSON], items: Sequence[JSON]) -> list[JSON]:
    """Return `messages` of a request behind the history `items`. Results of tools that stand before
    the first message of the assistant get the ids of their calls, where they have none: Ollama's
    clients name the tool only."""
    is_open = _open_calls(items)
    completed: list[JSON] = []
    for position, message in enumerate(messages):
        if isinstance(message, Mapping) and message.get("role") == "assistant":
            completed += messages[position:]
            break
        if _lacks_id(message):
            call_id = is_open.close(None, message.get("tool_name") or message.get("name"))
            if call_id is not None:
                message = {**message, "tool_call_id": call_id}
        completed.append(message)
    return completed


def _lacks_id(message: JSON) -> bool:
    return isinstance(message, Mapping) and message.get("role") in _RESULTS and not message.get("tool_call_id")


def _open_calls(items: Sequence[JSON]) -> OpenCalls:
    """Return the calls of a history that have no result in it."""
    is_open = OpenCalls()
    for item in items:
        match item:
            case {"type": "function_call", "call_id": str(call_id), "name": str(name)}:
                is_open.add((ToolCall(call_id, name, ""),))
            case {"type": "function_call_output", "call_id": str(call_id)}:
                is_open.close(call_id, None)
    return is_open
