"""The tools of OpenAI's chat requests: other kinds become functions or are left out; the calls come
back as they began.

A `custom` tool takes one text, so it becomes a function with one string `input`, which every
upstream knows. The old `functions` and `function_call` become `tools` and `tool_choice`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects.warnings import Warnings
from chorus.types import ToolCall, Tools
from chorus.wirejson import JSON, EncodedArray

_WORDS: Final = {"any": "required"}
"""Mistral's word for OpenAI's."""


class Toolbox(msgspec.Struct, frozen=True):
    """The tools of a request as functions.

    `customs` names those that were `custom`; `is_old`: the client reads `function_call`.
    """

    tools: Tools = Tools()
    choice: JSON = None
    customs: frozenset[str] = frozenset()
    is_old: bool = False


class _Named(msgspec.Struct):
    """The beginning of a function."""

    name: str


class _Function(msgspec.Struct):
    """The beginning of a function tool in chat's shape."""

    function: _Named
    type: Literal["function"] = "function"


_functions: Final = msgspec.json.Decoder(list[_Function])


def toolbox(
    tools: Sequence[JSON] | EncodedArray | None,
    warnings: Warnings,
    choice: JSON = None,
    functions: Sequence[JSON] | None = None,
    function_call: JSON = None,
) -> Toolbox:
    """Return the tools and the choice among them as functions in OpenAI's chat shape, with a
    warning for each that is left out.

    Raises:
        InvalidRequest: a function has no name.
    """
    if isinstance(tools, EncodedArray):
        is_simple = functions is None and function_call is None and (choice is None or isinstance(choice, str))
        if is_simple and (plain := _plain(tools)) is not None:
            return Toolbox(plain, _WORDS.get(choice, choice) if isinstance(choice, str) else None)
        tools = tools.decoded()
    offered: list[JSON] = []
    customs: set[str] = set()
    for position, tool in enumerate(tools or ()):
        place = f"tools[{position}]"
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
        if kind == "function":
            offered.append(_function(tool, place))
        elif kind == "custom" and (custom := _custom(tool)) is not None:
            offered.append(custom)
            customs.add(custom["function"]["name"])
        elif isinstance(kind, str):
            warnings.add(f"`{place}` is left out: this type of tool is not supported here.")
        else:
            raise _no_function(place)
    offered += [
        _function({"type": "function", "function": function}, f"functions[{i}]")
        for i, function in enumerate(functions or ())
    ]
    if function_call is not None and choice is None:
        is_named = isinstance(function_call, Mapping)
        choice = {"type": "function", "function": dict(function_call)} if is_named else function_call
    choice, offered = _chosen(choice, offered, warnings)
    return Toolbox(Tools(offered), choice, frozenset(customs), bool(functions) and not tools)


def _plain(tools: EncodedArray) -> Tools | None:
    """Return the tools as they came, where all are functions with a name in chat's shape.

    Else None.
    """
    try:
        functions = _functions.decode(tools.raw)
    except msgspec.ValidationError:
        return None
    return Tools.of_encoded(tools.raw, len(functions))


def _function(tool: Mapping[str, JSON], place: str) -> JSON:
    """Return a function tool as it came; one in the Responses API's flat shape in chat's."""
    function = tool.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return tool
    if function is None and isinstance(tool.get("name"), str):
        return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
    raise _no_function(place)


def _no_function(place: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for '{place}': expected a function tool with a name.", param=place)


def _custom(tool: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return a custom tool as a function; None without a name."""
    custom = tool.get("custom", tool)
    if not isinstance(custom, Mapping) or not isinstance(custom.get("name"), str):
        return None
    words = [custom["description"]] if isinstance(custom.get("description"), str) else []
    form = custom.get("format")
    grammar = form.get("grammar", form) if isinstance(form, Mapping) else None
    if isinstance(grammar, Mapping) and isinstance(grammar.get("definition"), str):
        words.append(f"The input follows this {grammar.get('syntax') or ''} grammar:\n{grammar['definition']}")
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    return {
        "type": "function",
        "function": {"name": custom["name"], "description": "\n\n".join(words), "parameters": schema},
    }


def _chosen(choice: JSON, offered: list[JSON], warnings: Warnings) -> tuple[JSON, list[JSON]]:
    """Return the choice in words that every upstream knows, and the tools that it allows."""
    if choice is None:
        return None, offered
    if isinstance(choice, str):
        return _WORDS.get(choice, choice), offered
    if not isinstance(choice, Mapping):
        return choice, offered
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        listed = allowed.get("tools") if isinstance(allowed, Mapping) else None
        names = {_name(tool) for tool in listed} if isinstance(listed, list) else set()
        mode = allowed.get("mode") if isinstance(allowed, Mapping) else None
        return ("required" if mode == "required" else "auto"), [tool for tool in offered if _name(tool) in names]
    if kind not in ("function", "custom", None):
        warnings.add("`tool_choice` is left out: it names a type of tool that is not supported here.")
        return None, offered
    name = _name(choice)
    if name not in {_name(tool) for tool in offered}:
        if offered:
            warnings.add("`tool_choice` is left out: it names a tool that is not there.")
        return None, offered
    return {"type": "function", "function": {"name": name}}, offered


def _name(tool: JSON) -> str | None:
    """Return the name of a tool, or the one that a choice names."""
    if not isinstance(tool, Mapping):
        return None
    inner = tool.get("function") or tool.get("custom") or tool
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None


def call_body(call: ToolCall, customs: frozenset[str]) -> dict[str, Any]:
    """Return a whole call of an answer in OpenAI's shape."""
    if call.name in customs:
        custom = {"name": call.name, "input": custom_input(call.arguments)}
        return {**call.extra, "id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {**call.extra, "id": call.id, "type": "function", "function": function}


def custom_input(arguments: str) -> str:
    """Return the text for a custom tool out of the arguments of its function.

    Models that ignore the schema write it bare.
    """
    try:
        value = wirejson.decode(arguments)
    except ValueError:
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
