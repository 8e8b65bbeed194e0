"""Tools and the choice among them as the Responses API has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chorus.types import ChatRequest, Tools
from chorus.wirejson import JSON

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


def written_tools(tools: Tools) -> list[JSON]:
    """Return functions in chat's shape as the Responses API has them. `strict` is always there: the
    API takes a function without it for a strict one, and chat does not."""
    try:
        functions = [tool.function for tool in _functions.decode(tools.encoded)]
    except msgspec.ValidationError:
        return [_written(tool) for tool in tools]
    return [
        {
            "type": "function",
            "name": function.name,
            **({"description": function.description} if function.description else {}),
            "parameters": function.parameters,
            "strict": bool(function.strict),
        }
        for function in functions
    ]


def _written(tool: JSON) -> JSON:
    """Return a tool of another shape: a function as far as it is one, anything else as it came."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    known = {key: function[key] for key in ("name", "description") if function.get(key)}
    parameters = function.get("parameters") or _NO_PARAMETERS
    return {"type": "function", **known, "parameters": parameters, "strict": bool(function.get("strict"))}


def written_choice(choice: JSON, customs: Mapping[str, str]) -> JSON:
    """Return chat's `tool_choice`. `customs` has the names of custom tools by those of their
    functions."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    if not isinstance(function, Mapping):
        return choice
    name = str(function.get("name"))
    custom = customs.get(name)
    return {"type": "function", "name": name} if custom is None else {"type": "custom", "name": custom}


def customs_of(request: ChatRequest) -> Mapping[str, str]:
    """Return the names of the client's custom tools by those of the functions that stand for
    them."""
    customs = request.responses_options.get("customs")
    return customs if isinstance(customs, Mapping) else {}


def put_tools(body: dict[str, Any], request: ChatRequest) -> None:
    """Put the tools of `request` into `body`, and the choice among them: as the client wrote them
    where it speaks Responses itself."""
    options = request.responses_options
    own = options.get("tools")
    tools: list[JSON] = list(own) if isinstance(own, list) else written_tools(request.tools)
    if not tools:
        return
    body["tools"] = tools
    choice = options.get("tool_choice", request.tool_choice)
    if choice is not None:
        body["tool_choice"] = written_choice(choice, customs_of(request))
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
