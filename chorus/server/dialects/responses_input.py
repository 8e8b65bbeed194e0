"""Every form of input that `/v1/responses` takes, as messages (A3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chorus.errors import InvalidRequest, MissingInput, UnsupportedFeature
from chorus.types import Image, Message, Part, Role, Text, ToolCall
from chorus.wirejson import JSON

_TEXTS = ("text", "input_text", "output_text", "summary_text")
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
NOTHING = "invalid request: missing input/messages/prompt/instructions"


def messages(instructions: JSON, given: JSON, turns: JSON, prompt: JSON) -> tuple[Message, ...]:
    """The conversation of `instructions`, then `input`, `messages` and `prompt`, as far as each is there.

    Instructions alone are what is asked, so they go as the user's turn.

    Raises:
        MissingInput: nothing usable is there.
        InvalidRequest: an item is of a kind or shape that we do not know; `param` names it.
    """
    told = [
        *_items(given, "input", "user"),
        *_items(turns, "messages", "user"),
        *_items(prompt, "prompt", "user"),
    ]
    told = _joined([message for message in told if message.content or message.tool_calls or message.role == "tool"])
    system = "\n".join(part.text for part in _parts(instructions, "instructions") if isinstance(part, Text))
    if system.strip():
        told.insert(0, Message("system" if told else "user", system))
    if not told:
        raise MissingInput(NOTHING, param="input")
    return tuple(told)


def _items(value: JSON, place: str, role: Role) -> Iterator[Message]:
    """The messages in `value`: a string, an item, or items nested in lists."""
    if value is None:
        return
    if isinstance(value, str):
        if value.strip():
            yield Message(role, value)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _items(item, f"{place}[{position}]", role)
    elif isinstance(value, Mapping):
        yield from _item(value, place, role)
    else:
        raise InvalidRequest(f"Invalid value for '{place}': expected a string, an item or a list.", param=place)


def _item(item: Mapping[str, JSON], place: str, role: Role) -> Iterator[Message]:
    """One item. Items without `type` are messages, as the SDK's shorthand has them."""
    kind = item.get("type", "message")
    if kind == "message":
        said = item.get("role", role)
        if not isinstance(said, str) or said not in _ROLES:
            raise InvalidRequest(
                f"Invalid value for '{place}.role': expected one of {', '.join(_ROLES)}.", param=f"{place}.role"
            )
        content = _content(item.get("content", item.get("text")), f"{place}.content")
        calls = tuple(_chat_calls(item.get("tool_calls"), f"{place}.tool_calls"))
        answers = _string(item, "tool_call_id", place) if item.get("tool_call_id") is not None else None
        yield Message(_ROLES[said], content, tool_calls=calls, tool_call_id=answers)
    elif kind in _TEXTS or kind in ("input_image", "image_url", "refusal"):
        speaker: Role = "assistant" if kind == "output_text" else role
        yield Message(speaker, _content([item], place))
    elif kind == "function_call":
        yield Message("assistant", "", tool_calls=(_call(item, place),))
    elif kind == "function_call_output":
        call_id = _string(item, "call_id", place)
        output = _content(item.get("output"), f"{place}.output")
        yield Message("tool", output, tool_call_id=call_id)
    elif kind == "reasoning":
        return  # the model's own earlier thoughts; other models have no use for them
    else:
        raise UnsupportedFeature(f"Invalid value for '{place}.type': this kind of item is not supported.", param=place)


def _call(item: Mapping[str, JSON], place: str) -> ToolCall:
    arguments = item.get("arguments", "{}")
    if not isinstance(arguments, str):
        raise InvalidRequest(f"Invalid value for '{place}.arguments': expected JSON text.", param=f"{place}.arguments")
    return ToolCall(_string(item, "call_id", place), _string(item, "name", place), arguments)


def _chat_calls(calls: JSON, place: str) -> Iterator[ToolCall]:
    """Tool calls of a message in chat's shape, which `messages` may hold."""
    for position, call in enumerate(calls if isinstance(calls, list) else ()):
        here = f"{place}[{position}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise InvalidRequest(f"Invalid value for '{here}': expected a function call.", param=here)
        yield ToolCall(_string(call, "id", here), _string(function, "name", here), str(function.get("arguments", "{}")))


def _string(item: Mapping[str, JSON], key: str, place: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"Invalid value for '{place}.{key}': expected a string.", param=f"{place}.{key}")
    return value


def _content(value: JSON, place: str) -> str | tuple[Part, ...]:
    """Content as text where it is nothing but text."""
    parts = tuple(_parts(value, place))
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return parts


def _parts(value: JSON, place: str) -> Iterator[Part]:
    """Text and images in `value`, however deeply nested."""
    if value is None:
        return
    if isinstance(value, str):
        yield Text(value)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _parts(item, f"{place}[{position}]")
    elif isinstance(value, Mapping):
        yield from _part(value, place)
    else:
        raise InvalidRequest(f"Invalid value for '{place}': expected text or parts.", param=place)


def _part(part: Mapping[str, Any], place: str) -> Iterator[Part]:
    kind = part.get("type", "text")
    if kind in _TEXTS:
        text = part.get("text", part.get("content"))
        if isinstance(text, list | Mapping):
            yield from _parts(text, place)
        elif isinstance(text, str):
            yield Text(text)
        else:
            raise InvalidRequest(f"Invalid value for '{place}.text': expected a string.", param=f"{place}.text")
    elif kind == "refusal":
        yield Text(str(part.get("refusal", "")))
    elif kind in ("input_image", "image_url"):
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if not isinstance(url, str) or not url:
            raise InvalidRequest(f"Invalid value for '{place}.image_url': expected an address.", param=place)
        detail = part.get("detail")
        yield Image(url, detail if isinstance(detail, str) and detail != "auto" else None)
    elif kind == "message":
        yield from _parts(part.get("content"), f"{place}.content")
    else:
        raise UnsupportedFeature(f"Invalid value for '{place}.type': this kind of part is not supported.", param=place)


def _joined(told: list[Message]) -> list[Message]:
    """Calls that stand in a row are one assistant turn with several calls; chat upstreams insist on it."""
    joined: list[Message] = []
    for message in told:
        last = joined[-1] if joined else None
        follows = last is not None and last.role == "assistant" and not message.content and message.role == "assistant"
        if last is not None and follows and message.tool_calls:
            calls = (*last.tool_calls, *message.tool_calls)
            joined[-1] = Message("assistant", last.content, tool_calls=calls)
        else:
            joined.append(message)
    return joined
