"""The messages of OpenAI's chat requests in our words, read leniently.

A field or a part that Chorus does not use is kept (`extra`, `Opaque`) and goes on to the upstream
as it came. Other servers and older clients write histories in other ways: arguments as an object or
null, calls without ids, the role `function`. All of these are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args

from msgspec import structs

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects.open_calls import OpenCalls
from chorus.types import Image, Message, Opaque, Part, Role, Text, ToolCall
from chorus.wirejson import JSON

_UNTYPED_PARTS: Final = frozenset({"text", "image_url"})
"""Fields by which a part without a type is known."""
_ROLES: Final = frozenset(get_args(Role))
_SPEAKERS: Final = _ROLES - {"tool"}
_MESSAGE_FIELDS: Final = frozenset(
    {
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "reasoning_content",
        "reasoning",
        "refusal",
        "function_call",
    }
)
_PLAIN_FIELDS: Final = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_PLAIN_CALL: Final = frozenset({"id", "type", "function"})
_PLAIN_FUNCTION: Final = frozenset({"name", "arguments"})
_CALL_FIELDS: Final = frozenset({"id", "type", "index", "function", "custom"})
_TEXT_KINDS: Final = frozenset({"text", "input_text", "output_text"})
_MEDIA_TYPES: Final = ("media_type", "mimeType", "mime_type")
_IMAGE_KINDS: Final = frozenset({"image_url", "input_image"})


def messages(wire: Sequence[JSON]) -> tuple[Message, ...]:
    """Return the conversation in our words.

    Raises:
        InvalidRequest: a message is malformed; `param` names its field.
    """
    conversation: list[Message] = []
    is_open = OpenCalls()
    for position, turn in enumerate(wire):
        if type(turn) is dict and len(turn) == 2:  # most messages: half the time of `_plain`
            role, content = turn.get("role"), turn.get("content")
            if type(role) is str and role in _SPEAKERS and type(content) is str:
                conversation.append(Message(role, content))  # type: ignore[arg-type]  # one of `Role`
                continue
        message = _plain(turn)
        if message is None:
            message = _message(turn, f"messages[{position}]")
        if message.tool_calls:
            is_open.add(message.tool_calls)
        elif message.role == "tool":
            call_id = is_open.close(message.tool_call_id, message.name)
            if call_id != message.tool_call_id:
                message = structs.replace(message, tool_call_id=call_id)
        conversation.append(message)
    return tuple(conversation)


def _plain(wire: JSON) -> Message | None:
    """Return a message of texts and calls as the documentation has them, which most are.

    None for any other. It costs a fifth of the careful reading: a long conversation of an agent has
    thousands.
    """
    if type(wire) is not dict:
        return None
    role, content = wire.get("role"), wire.get("content")
    content = "" if content is None else content
    if type(role) is not str or role not in _ROLES or type(content) is not str or not wire.keys() <= _PLAIN_FIELDS:
        return None
    call_id = wire.get("tool_call_id")
    if call_id is not None and type(call_id) is not str:
        return None
    listed = wire.get("tool_calls") or []
    if type(listed) is not list:
        return None
    calls: list[ToolCall] = []
    for call in listed:
        function = call.get("function") if type(call) is dict and call.keys() <= _PLAIN_CALL else None
        if type(function) is not dict or not function.keys() <= _PLAIN_FUNCTION:
            return None
        its_id, name, written = call.get("id"), function.get("name"), function.get("arguments")
        if not (its_id and name and written and type(its_id) is type(name) is type(written) is str):
            return None
        calls.append(ToolCall(its_id, name, written))
    return Message(role, content, "", tuple(calls), call_id)  # type: ignore[arg-type]


def _message(wire: JSON, place: str) -> Message:
    """Return one message, read carefully."""
    if not isinstance(wire, Mapping):
        raise _wrong(place, "an object")
    role, given = _role(wire, place), wire.get("content")
    if role == "tool" and not _is_content(given):
        given = wirejson.encode(given).decode()  # what a tool returned, as it is
    content = _content(given, f"{place}.content")
    refusal = wire.get("refusal")
    return Message(
        role,
        refusal if not content and isinstance(refusal, str) else content,
        _reasoning(wire),
        _calls(wire, place),
        _id(wire, "tool_call_id", place),
        _text(wire, "name", place),
        _extra(wire, _MESSAGE_FIELDS),
    )


def _role(wire: Mapping[str, JSON], place: str) -> Role:
    role = wire.get("role")
    if role is None:
        raise InvalidRequest(f"Missing required field '{place}.role'.", param=f"{place}.role")
    if role == "function":
        return "tool"
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{place}.role", "system, developer, user, assistant or tool")
    return cast(Role, role)


def _is_content(content: JSON) -> bool:
    """Return whether it is a text or parts."""
    entries = content if isinstance(content, list) else [content]
    return content is None or all(
        isinstance(entry, str)
        or (isinstance(entry, Mapping) and (isinstance(entry.get("type"), str) or not _UNTYPED_PARTS.isdisjoint(entry)))
        for entry in entries
    )


def _content(content: JSON, place: str) -> str | tuple[Part, ...]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return (part(content, place),)
    if not isinstance(content, list):
        raise _wrong(place, "a string or a list of parts")
    return tuple(part(entry, f"{place}[{index}]") for index, entry in enumerate(content))


def part(wire: JSON, place: str) -> Part:
    """Return one part of a message in our words; one of a kind that we do not know stays as it is.

    Raises:
        InvalidRequest: it is no part, or an image without an address.
    """
    if isinstance(wire, str):
        return Text(wire)
    if not isinstance(wire, Mapping):
        raise _wrong(place, "an object")
    kind = wire.get("type")
    if kind is not None and not isinstance(kind, str):
        raise _wrong(f"{place}.type", "a kind of part")
    if kind in _TEXT_KINDS or (kind is None and "text" in wire):
        return Text(_text(wire, "text", place) or "", _extra(wire, ("type", "text")))
    if kind == "refusal":
        return Text(_text(wire, "refusal", place) or "", _extra(wire, ("type", "refusal")))
    if kind in _IMAGE_KINDS or (kind is None and "image_url" in wire):
        return _image(wire, place)
    if not kind:
        raise _wrong(f"{place}.type", "a kind of part")
    if kind == "image" and (image := _image_of_others(wire)) is not None:
        return image
    return Opaque(wire)


def _image_of_others(wire: Mapping[str, JSON]) -> Image | None:
    """Return an image written as Anthropic, MCP or LangChain write it; None for anything else.

    Anthropic has `source`, MCP `data` and `mimeType`, LangChain `base64` or `url` and `mime_type`.
    """
    source = wire.get("source")
    held = source if isinstance(source, Mapping) else wire
    extra = {"cache_control": wire["cache_control"]} if wire.get("cache_control") else {}
    if isinstance(url := held.get("url"), str) and url:
        return Image(url, extra=extra)
    kind = next((held[key] for key in _MEDIA_TYPES if isinstance(held.get(key), str)), "image/png")
    data = next((held[key] for key in ("data", "base64") if isinstance(held.get(key), str)), "")
    if not data:
        return None
    return Image(data if data.startswith("data:") else f"data:{kind};base64,{data}", extra=extra)


def _image(wire: Mapping[str, JSON], place: str) -> Image:
    image = wire.get("image_url")
    extra = _extra(wire, ("type", "image_url", "detail"))
    detail = _text(wire, "detail", place)
    if isinstance(image, Mapping):
        url = image.get("url")
        detail = _text(image, "detail", f"{place}.image_url") or detail
        # `format`, `min_pixels`, ...: beside the address
        if rest := _extra(image, ("url", "detail")):
            extra = {**extra, "image_url": {"url": url, **({"detail": detail} if detail else {}), **rest}}
    else:
        url = image
    if not isinstance(url, str) or not url:
        raise _wrong(f"{place}.image_url", "an address or a data: URL")
    return Image(url, detail, extra)


def _calls(wire: Mapping[str, JSON], place: str) -> tuple[ToolCall, ...]:
    listed = wire.get("tool_calls")
    if listed:
        if not isinstance(listed, list):
            raise _wrong(f"{place}.tool_calls", "a list of tool calls")
        return tuple(_call(call, f"{place}.tool_calls[{index}]") for index, call in enumerate(listed))
    old = wire.get("function_call")  # what `tool_calls` were before
    if isinstance(old, Mapping) and isinstance(old.get("name"), str):
        return (ToolCall(made_up_id(place, 0), old["name"], arguments(old.get("arguments"))),)
    return ()


def _call(wire: JSON, place: str) -> ToolCall:
    if not isinstance(wire, Mapping):
        raise _wrong(place, "an object")
    call_id = _id(wire, "id", place) or made_up_id(place, 0)
    custom = wire.get("custom")
    if isinstance(custom, Mapping):
        name = _text(custom, "name", f"{place}.custom")
        written = wirejson.encode({"input": custom.get("input") or ""}).decode()
    else:
        function = wire.get("function")
        if not isinstance(function, Mapping):
            raise _wrong(f"{place}.function", "a function with a name")
        name = _text(function, "name", f"{place}.function")
        written = arguments(function.get("arguments"))
    if not name:
        raise _wrong(f"{place}.function.name", "a string")
    return ToolCall(call_id, name, written, _extra(wire, _CALL_FIELDS))


def arguments(value: JSON) -> str:
    """Return the arguments of a call as JSON text. Some servers write them as an object, and none
    as null or as ""."""
    if isinstance(value, str):
        return value or "{}"
    return "{}" if value is None else wirejson.encode(value).decode()


def made_up_id(place: str, index: int) -> str:
    """Return an id for a call that came without one: the same whenever the same history comes."""
    numbers = "_".join("".join(sign if sign.isdigit() else " " for sign in place).split())
    return f"call_{numbers}_{index}"


def _reasoning(wire: Mapping[str, JSON]) -> str:
    for name in ("reasoning_content", "reasoning"):
        value = wire.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _extra(wire: Mapping[str, JSON], known: Any) -> dict[str, JSON]:
    """Return the fields beside `known` ones; null says nothing."""
    return {key: value for key, value in wire.items() if key not in known and value is not None}


def _text(wire: Mapping[str, JSON], key: str, place: str) -> str | None:
    value = wire.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(f"{place}.{key}", "a string")
    return value


def _id(wire: Mapping[str, JSON], key: str, place: str) -> str | None:
    """Return the id of a call. Some clients count their calls."""
    value = wire.get(key)
    return str(value) if type(value) is int else _text(wire, key, place)


def _wrong(place: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for '{place}': expected {wanted}.", param=place)
