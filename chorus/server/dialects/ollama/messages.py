"""The messages of Ollama's chat in our words, read leniently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast, get_args

from chorus.errors import InvalidRequest
from chorus.server.dialects.ollama import wire
from chorus.server.dialects.open_calls import OpenCalls
from chorus.server.dialects.openai.messages import arguments, part
from chorus.server.dialects.warnings import Warnings
from chorus.types import Message, Part, Role, Text, ToolCall
from chorus.wirejson import JSON

_ROLES: Final = frozenset(get_args(Role))
_FIELDS: Final = frozenset(
    {
        "role",
        "content",
        "thinking",
        "reasoning_content",
        "reasoning",
        "images",
        "tool_calls",
        "tool_name",
        "name",
        "tool_call_id",
    }
)
_CALL_FIELDS: Final = frozenset({"id", "type", "index", "function"})
_REASONING: Final = ("thinking", "reasoning_content", "reasoning")


def messages(given: Sequence[Mapping[str, JSON]], warnings: Warnings) -> tuple[Message, ...]:
    """Return the conversation in our words, with a warning for what is converted. Ollama's history
    has no call ids of old: they are made up here, and each tool result is paired with the first
    open call of its name, else with the first open one.

    Raises:
        InvalidRequest: a message is malformed; `param` names its field.
    """
    conversation: list[Message] = []
    is_open = OpenCalls()
    for position, message in enumerate(given):
        place = f"messages[{position}]"
        role, name = _role(message, place), _text(message, "tool_name", place) or _text(message, "name", place)
        if role not in _ROLES:
            warnings.add(f"`{place}.role` is unknown here: the message is sent as the user's.")
            role = "user"
        calls = _calls(message, position)
        is_open.add(calls)
        call_id = _text(message, "tool_call_id", place)
        if role == "tool":
            call_id = is_open.close(call_id, name)
            if call_id is None:
                raise InvalidRequest(f"Invalid value for '{place}': a tool result without a tool call.", param=place)
        reasoning = next((text for key in _REASONING if (text := _text(message, key, place))), "")
        extra = {key: value for key, value in message.items() if key not in _FIELDS and value is not None}
        content = _content(message, place)
        conversation.append(Message(cast(Role, role), content, reasoning, calls, call_id, name, extra))
    return tuple(conversation)


def _role(message: Mapping[str, JSON], place: str) -> str:
    role = message.get("role")
    if role is None:
        raise InvalidRequest(f"Missing required field '{place}.role'.", param=f"{place}.role")
    if not isinstance(role, str):
        raise _wrong(f"{place}.role", "a string")
    return role


def _content(message: Mapping[str, JSON], place: str) -> str | tuple[Part, ...]:
    content = message.get("content")
    images = message.get("images")
    if images is not None and not (isinstance(images, list) and all(isinstance(entry, str) for entry in images)):
        raise _wrong(f"{place}.images", "a list of strings")
    parts: tuple[Part, ...]
    if isinstance(content, list):  # OpenAI's parts, as some clients send them here too
        parts = tuple(part(entry, f"{place}.content[{index}]") for index, entry in enumerate(content))
    elif content is None or isinstance(content, str):
        if not images:
            return content or ""
        parts = (Text(content or ""),)
    else:
        raise _wrong(f"{place}.content", "a string")
    return (*parts, *(wire.image(data) for data in images or ()))


def _calls(message: Mapping[str, JSON], position: int) -> tuple[ToolCall, ...]:
    listed = message.get("tool_calls") or ()
    place = f"messages[{position}].tool_calls"
    if not isinstance(listed, list | tuple):
        raise _wrong(place, "a list of tool calls")
    calls = []
    for index, call in enumerate(listed):
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str):
            raise _wrong(f"{place}[{index}].function.name", "a string")
        call_id = _text(call, "id", f"{place}[{index}]") or f"call_{position}_{index}"
        extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS and value is not None}
        calls.append(ToolCall(call_id, name, arguments(function.get("arguments")), extra))
    return tuple(calls)


def _text(wire_object: Mapping[str, JSON], key: str, place: str) -> str | None:
    value = wire_object.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(f"{place}.{key}", "a string")
    return value


def _wrong(place: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for '{place}': expected {wanted}.", param=place)
