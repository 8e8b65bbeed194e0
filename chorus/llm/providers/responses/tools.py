"""Tools and the choice among them as the Responses API has them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chorus import wirejson
from chorus.llm.providers.tool_schemas import UNIONS, is_plain, plain_object
from chorus.types import ChatRequest, Tools
from chorus.wirejson import JSON

MAX_NAME: Final = 64
"""Characters of the name of a function."""
_NOTHING: Final[Mapping[str, str]] = {}
_AT_THE_TOP: Final = (*UNIONS, "enum", "const", "not")
"""Keywords that the schema of a function must not begin with."""
_NOT_PLAIN: Final = frozenset({*_AT_THE_TOP, "$ref"})
_OBJECT: Final = msgspec.Raw(b'"object"')
_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = _NO_PARAMETERS
    strict: bool | None = None


class _ChatTool(msgspec.Struct):
    """A function tool in chat's shape."""

    function: _Function


_functions: Final = msgspec.json.Decoder(list[_ChatTool])
_top: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


def written_tools(tools: Tools, names: Mapping[str, str], warn: Callable[[str], None]) -> list[JSON]:
    """Return functions in chat's shape as the Responses API has them. `strict` is always there: the
    API takes a function without it for a strict one, and chat does not. `names` has those of tools
    that are sent under another one."""
    try:
        functions = [tool.function for tool in _functions.decode(tools.encoded)]
    except msgspec.ValidationError:
        return [_written(tool, names) for tool in tools]
    return [
        {
            "type": "function",
            "name": names.get(function.name, function.name),
            **({"description": function.description} if function.description else {}),
            "parameters": _taken(function, warn),
            "strict": bool(function.strict),
        }
        for function in functions
    ]


def _taken(function: _Function, warn: Callable[[str], None]) -> JSON | msgspec.Raw:
    """Return the schema of a function's arguments: encoded as it came, where that is one object."""
    raw = function.parameters
    try:
        top = _top.decode(raw)
    except msgspec.ValidationError:
        return _NO_PARAMETERS
    if top is None or (top.get("type") == _OBJECT and _NOT_PLAIN.isdisjoint(top)):
        return raw
    return _plain(function.name, wirejson.decode(bytes(raw)), warn)


def _own_tool(tool: JSON, names: Mapping[str, str], warn: Callable[[str], None]) -> JSON:
    """Return a tool as the client wrote it, a function with a name and a schema that are taken."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    name, parameters = str(tool.get("name")), tool.get("parameters")
    changed: dict[str, JSON] = {"name": names[name]} if name in names else {}
    if isinstance(parameters, Mapping) and not is_plain(parameters, _AT_THE_TOP):
        changed["parameters"] = _plain(name, parameters, warn)
    return {**tool, **changed} if changed else tool


def _plain(name: str, schema: JSON, warn: Callable[[str], None]) -> JSON:
    if isinstance(schema, Mapping) and any(union in schema for union in UNIONS):
        warn(f"The schema of tool '{name}' is sent with the fields of all of its alternatives.")
    return plain_object(schema, _AT_THE_TOP)


def _written(tool: JSON, names: Mapping[str, str]) -> JSON:
    """Return a tool of another shape: a function as far as it is one, anything else as it came."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    known = {key: function[key] for key in ("name", "description") if function.get(key)}
    if known.get("name") in names:
        known["name"] = names[known["name"]]
    parameters = function.get("parameters") or _NO_PARAMETERS
    return {"type": "function", **known, "parameters": parameters, "strict": bool(function.get("strict"))}


def written_choice(choice: JSON, customs: Mapping[str, str], names: Mapping[str, str] = _NOTHING) -> JSON:
    """Return chat's `tool_choice`. `customs` has the names of custom tools by those of their
    functions, and `names` those of tools that are sent under another one."""
    if not isinstance(choice, Mapping):
        return choice
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, Mapping):
        listed = allowed.get("tools")
        tools = [written_choice(tool, customs, names) for tool in listed] if isinstance(listed, list) else []
        return {"type": "allowed_tools", "mode": allowed.get("mode") or "auto", "tools": tools}
    function = choice.get("function") or choice.get("custom")
    if not isinstance(function, Mapping):
        return _own_choice(choice, names) if names else choice
    name = str(function.get("name"))
    custom = customs.get(name)
    return {"type": "function", "name": names.get(name, name)} if custom is None else {"type": "custom", "name": custom}


def _own_choice(choice: Mapping[str, JSON], names: Mapping[str, str]) -> Mapping[str, JSON]:
    """Return a choice in the shape of Responses, with the names of functions that are sent."""
    if choice.get("type") == "function" and choice.get("name") in names:
        return {**choice, "name": names[str(choice["name"])]}
    listed = choice.get("tools")
    if not isinstance(listed, list):
        return choice
    return {**choice, "tools": [_own_choice(tool, names) if isinstance(tool, Mapping) else tool for tool in listed]}


def customs_of(request: ChatRequest) -> Mapping[str, str]:
    """Return the names of the client's custom tools by those of the functions that stand for
    them."""
    customs = request.responses_options.get("customs")
    return customs if isinstance(customs, Mapping) else {}


def put_tools(
    body: dict[str, Any], request: ChatRequest, names: Mapping[str, str], warn: Callable[[str], None]
) -> None:
    """Put the tools of `request` into `body`, and the choice among them: as the client wrote them
    where it speaks Responses itself, but for names and schemas that the API refuses. `names` has
    those of tools that are sent under another one.
    """
    options = request.responses_options
    own = options.get("tools")
    renamed = options.get("renamed")
    if isinstance(renamed, Mapping):  # those that the client named so
        names = {**names, **renamed}
    if isinstance(own, list):
        tools = [_own_tool(tool, names, warn) for tool in own]
    else:
        tools = written_tools(request.tools, names, warn)
    if not tools:
        return
    body["tools"] = tools
    choice = options.get("tool_choice", request.tool_choice)
    if choice is not None:
        body["tool_choice"] = written_choice(choice, customs_of(request), names)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
