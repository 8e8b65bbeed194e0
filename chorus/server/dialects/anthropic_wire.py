"""What Anthropic's clients send, in our words: messages of blocks, tools with an `input_schema` (A4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest, UnsupportedFeature
from chorus.types import ChatRequest, Image, Message, Part, Text, ToolCall, Tools
from chorus.usage import estimate_tokens
from chorus.wirejson import JSON


class WireMessage(msgspec.Struct):
    """A message; its blocks are read by kind below."""

    role: str
    content: str | list[dict[str, Any]]


class Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None


class Thinking(msgspec.Struct):
    type: str


class OutputFormat(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    format: OutputFormat | None = None
    effort: str | None = None


def messages(system: str | Sequence[Mapping[str, JSON]] | None, turns: Sequence[WireMessage]) -> tuple[Message, ...]:
    """The whole conversation.

    Raises:
        InvalidRequest: a role or block is malformed; `param` names it.
        UnsupportedFeature: a block of a kind that no upstream of ours takes.
    """
    told: list[Message] = []
    if system:
        text = system if isinstance(system, str) else "\n".join(str(block.get("text", "")) for block in system)
        told.append(Message("system", text))
    for position, turn in enumerate(turns):
        told.extend(_turn(turn, f"messages[{position}]"))
    return tuple(told)


def _turn(turn: WireMessage, place: str) -> Iterator[Message]:
    """One turn; tool results inside a user turn are messages of their own, as everybody else has them."""
    if turn.role not in ("user", "assistant", "system"):
        raise InvalidRequest(f"Invalid value for '{place}.role': expected user or assistant.", param=f"{place}.role")
    if isinstance(turn.content, str):
        yield Message("system" if turn.role == "system" else _role(turn.role), turn.content)
        return
    parts: list[Part] = []
    calls: list[ToolCall] = []
    thoughts: list[str] = []
    for index, block in enumerate(turn.content):
        here = f"{place}.content[{index}]"
        kind = block.get("type")
        if kind == "tool_result":
            yield Message("tool", _result(block, here), tool_call_id=_string(block, "tool_use_id", here))
        elif kind == "tool_use":
            arguments = wirejson.encode(block.get("input") or {}).decode()
            calls.append(ToolCall(_string(block, "id", here), _string(block, "name", here), arguments))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking", "")))
        elif kind != "redacted_thinking":
            parts.append(_part(block, here))
    if parts or calls:
        yield Message(_role(turn.role), _content(parts), "".join(thoughts), tuple(calls))


def _role(role: str) -> Any:
    return "system" if role == "system" else "assistant" if role == "assistant" else "user"


def _content(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return tuple(parts)


def _result(block: Mapping[str, JSON], place: str) -> str:
    """The text of a tool's result; a failed one says so."""
    content = block.get("content")
    if isinstance(content, list):
        parts = [_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]
        content = "\n".join(part.text for part in parts if isinstance(part, Text))
    text = content if isinstance(content, str) else ""
    return f"Error: {text}" if block.get("is_error") else text


def _part(block: JSON, place: str) -> Part:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if kind == "text":
        return Text(_string(block, "text", place, empty=True))
    if kind == "image":
        source = block.get("source")
        source = source if isinstance(source, Mapping) else {}
        if source.get("type") == "url":
            return Image(_string(source, "url", f"{place}.source"))
        data = _string(source, "data", f"{place}.source")
        return Image(f"data:{source.get('media_type', 'image/png')};base64,{data}")
    raise UnsupportedFeature(f"Invalid value for '{place}.type': this kind of block is not supported.", param=place)


def _string(block: Mapping[str, JSON], key: str, place: str, *, empty: bool = False) -> str:
    value = block.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise InvalidRequest(f"Invalid value for '{place}.{key}': expected a string.", param=f"{place}.{key}")
    return value


def tools(wire: Sequence[Tool]) -> Tools:
    """Function tools in OpenAI's chat shape.

    Raises:
        UnsupportedFeature: a tool that runs on Anthropic's machines.
    """
    told = []
    for position, tool in enumerate(wire):
        if tool.type not in (None, "custom") or tool.input_schema is None:
            place = f"tools[{position}]"
            raise UnsupportedFeature(f"Invalid value for '{place}': only your own tools are supported.", param=place)
        function: dict[str, JSON] = {"name": tool.name, "parameters": tool.input_schema}
        if tool.description:
            function["description"] = tool.description
        told.append({"type": "function", "function": function})
    return Tools(told)


def tool_choice(choice: Mapping[str, JSON] | None) -> JSON:
    """Anthropic's `tool_choice` as OpenAI's."""
    kind = choice.get("type") if choice is not None else None
    if kind == "tool" and choice is not None:
        return {"type": "function", "function": {"name": choice.get("name")}}
    return {"any": "required", "none": "none", "auto": "auto"}.get(str(kind))


def response_format(wanted: OutputFormat | None) -> JSON:
    """Anthropic's output format as OpenAI's `response_format`."""
    if wanted is None:
        return None
    # not `strict`: OpenAI then refuses schemas with optional fields, which Anthropic allows
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.schema}}


def input_tokens(request: ChatRequest) -> int:
    """About how many tokens a model will read; an estimate, since each counts in its own way."""
    tools = request.tools.encoded.decode() if request.tools else ""
    return sum(map(estimate_tokens, (*(message.text for message in request.messages), tools)))
