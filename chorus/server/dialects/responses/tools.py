"""The tools of a Responses request as functions, which is all that chat upstreams know (A3, W10).

Tools that the client itself runs (`custom`, `local_shell`, `shell`, `apply_patch`, `tool_search`,
and those of a `namespace`) become functions, and a call of one comes back as the item that the
client expects. Tools that OpenAI runs (`web_search`, `file_search`, ...) are left out with a
warning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects.warnings import Warnings
from chorus.types import Tools
from chorus.wirejson import JSON

Kind = Literal["function", "custom", "local_shell", "shell", "apply_patch", "tool_search"]
"""How a tool is called and answered: `function_call`, `custom_tool_call`, `local_shell_call`,
...
"""

HOSTED: Final = frozenset(
    {
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "mcp",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)
"""Types that are named in warnings; others are "of an unknown type"."""

_MAX_NAME: Final = 64
"""Characters that OpenAI allows in the name of a function."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")


class Tool(msgspec.Struct, frozen=True):
    """A tool as the client names it.

    `definition` is the function that stands for it, still without its name.
    """

    kind: Kind
    name: str
    namespace: str | None = None
    definition: Mapping[str, JSON] = {}
    extra: Mapping[str, JSON] = {}


class ToolTable:
    """The tools of one request by the names of their functions."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """Name the functions of `tools`.

        A later definition of the same tool replaces an earlier one.
        """
        unique = {(tool.kind, tool.namespace, tool.name): tool for tool in tools}
        self._names: dict[tuple[Kind, str | None, str], str] = {}
        taken: set[str] = set()
        # functions at the top keep their names; the others have to make room
        for key, tool in sorted(unique.items(), key=lambda entry: (entry[0][1] is not None, entry[0][0] != "function")):
            name = _free_name(tool, taken)
            taken.add(name)
            self._names[key] = name
        self._tools = {self._names[key]: tool for key, tool in unique.items()}
        self._aliases = {
            f"{tool.namespace}{joint}{tool.name}": tool
            for tool in self._tools.values()
            if tool.namespace is not None
            for joint in ("__", ".", "/", "")
        }

    def tool_of(self, function: str) -> Tool:
        """Return the tool that a model means by `function`.

        A plain function where there is none of this name.
        """
        return self._tools.get(function) or self._aliases.get(function) or Tool("function", function)

    def function_of(self, kind: Kind, name: str, namespace: str | None = None) -> str:
        """Return the name of the function that stands for a tool.

        Also for one that is not offered (any more).
        """
        known = self._names.get((kind, namespace, name))
        if known is not None:
            return known
        return name if kind == "function" and namespace is None else _function_name(name)

    def has(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        """Return whether this tool is offered."""
        return (kind, namespace, name) in self._names

    def customs(self) -> dict[str, JSON]:
        """Return the names of custom tools by those of their functions."""
        return {function: tool.name for function, tool in self._tools.items() if _is_plain_custom(tool)}

    def renamed(self) -> dict[str, JSON]:
        """Return the names of functions that have another one than the client's, by the
        client's.
        """
        tools = ((function, tool) for function, tool in self._tools.items() if tool.kind == "function")
        return {tool.name: name for name, tool in tools if tool.namespace is None and tool.name != name}

    def kinds_of(self, name: str) -> Iterator[tuple[str, Tool]]:
        """Return the functions of all tools that the client calls `name`."""
        return ((function, tool) for function, tool in self._tools.items() if tool.name == name)

    def definitions(self, allowed: frozenset[str] | None = None) -> Tools:
        """Return the functions in chat's shape.

        Only those named in `allowed`, where that is not None.
        """
        return Tools(
            {"type": "function", "function": {"name": name, **tool.definition}, **tool.extra}
            for name, tool in self._tools.items()
            if allowed is None or name in allowed
        )


def _is_plain_custom(tool: Tool) -> bool:
    return tool.kind == "custom" and tool.namespace is None


def read_tools(tools: Sequence[JSON], place: str, warnings: Warnings) -> Iterator[Tool]:
    """Return the tools that can be offered as functions. The others are left out with a warning.

    Raises:
        InvalidRequest: a function or custom tool has no name.
    """
    for position, tool in enumerate(tools):
        if isinstance(tool, Mapping):
            yield from _read_tool(tool, f"{place}[{position}]", place, warnings)
        else:
            raise InvalidRequest(
                f"Invalid value for '{place}[{position}]': expected an object.", param=f"{place}[{position}]"
            )


def _read_tool(tool: Mapping[str, Any], place: str, field: str, warnings: Warnings) -> Iterator[Tool]:
    kind = tool.get("type", "function")
    inner = tool.get(kind) if isinstance(kind, str) else None
    # chat nests what Responses writes flat
    shape = {**inner, **tool} if isinstance(inner, Mapping) else tool
    if kind == "function":
        yield _function(shape, place)
    elif kind == "custom":
        if _format_text(shape.get("format")):
            warnings.add(
                f"{field}: the grammar of a custom tool is described to the model, but not enforced.", of_chat=True
            )
        yield _custom(shape, place)
    elif kind == "namespace":
        yield from _namespace(tool, place, warnings)
    elif (own := _CLIENT_RUN.get(kind) if isinstance(kind, str) else None) is not None and _is_run_by_client(tool):
        yield _described(own, tool)
    else:
        what = kind if isinstance(kind, str) and kind in HOSTED else "a tool of an unknown type"
        warnings.add(f"{field}: {what} is left out; only tools that the client runs can be offered.", of_chat=True)


def _function(tool: Mapping[str, Any], place: str) -> Tool:
    wanted = ("description", "parameters", "strict")
    definition = {key: tool[key] for key in wanted if tool.get(key) is not None}
    extra = {key: tool[key] for key in ("cache_control",) if tool.get(key) is not None}
    return Tool("function", _name(tool, place), None, definition, extra)


def _custom(tool: Mapping[str, Any], place: str) -> Tool:
    texts = [tool.get("description"), _format_text(tool.get("format"))]
    description = "\n\n".join(text for text in texts if isinstance(text, str) and text)
    parameters = {
        "type": "object",
        "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
        "required": ["input"],
        "additionalProperties": False,
    }
    return Tool("custom", _name(tool, place), None, {"description": description, "parameters": parameters})


def _format_text(form: JSON) -> str:
    """Return what a model has to know of the format of a custom tool's input."""
    grammar = form if isinstance(form, Mapping) else {}
    if isinstance(grammar.get("grammar"), Mapping):
        grammar = grammar["grammar"]
    definition, syntax = grammar.get("definition"), grammar.get("syntax")
    if not isinstance(definition, str):
        return ""
    named = f" ({syntax})" if isinstance(syntax, str) else ""
    return f"`input` must match this grammar{named}:\n{definition}"


def _namespace(tool: Mapping[str, Any], place: str, warnings: Warnings) -> Iterator[Tool]:
    """Return the functions of a namespace. Its own description goes before that of the first."""
    namespace, tools = _name(tool, place), tool.get("tools")
    about = tool.get("description")
    for member in read_tools(tools if isinstance(tools, list) else (), f"{place}.tools", warnings):
        definition = dict(member.definition)
        if isinstance(about, str) and about:
            definition["description"] = f"{about}\n\n{definition.get('description') or ''}".rstrip()
            about = None
        yield msgspec.structs.replace(member, namespace=namespace, definition=definition)


def _is_run_by_client(tool: Mapping[str, Any]) -> bool:
    """Return whether the client runs a `shell` or `tool_search`, and not OpenAI in a container."""
    environment = tool.get("environment")
    if tool["type"] == "shell" and isinstance(environment, Mapping):
        return environment.get("type") in (None, "local")
    return tool["type"] != "tool_search" or tool.get("execution") == "client"


def _described(own: Tool, tool: Mapping[str, Any]) -> Tool:
    """Return `own` with the description and parameters that the client gave it."""
    given = {
        key: tool[key]
        for key, shape in (("description", str), ("parameters", Mapping))
        if isinstance(tool.get(key), shape)
    }
    return msgspec.structs.replace(own, definition={**own.definition, **given})


def _name(tool: Mapping[str, Any], place: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Invalid value for '{place}': expected a tool with a name.", param=place)
    return name


def _free_name(tool: Tool, taken: Container[str]) -> str:
    """Return a name that is not `taken`: the tool's own, else with its namespace, else numbered."""
    plain = _function_name(tool.name)
    if plain not in taken:
        return plain
    name = full = _function_name(f"{tool.namespace or tool.kind}__{tool.name}")
    number = 2
    while name in taken:
        name = f"{full[: _MAX_NAME - 6]}_{number}"
        number += 1
    return name


def _function_name(name: str) -> str:
    """Return `name` as OpenAI allows it.

    A long one is cut, and its hash keeps it apart from others.
    """
    clean = _NOT_IN_NAMES.sub("_", name)
    if len(clean) <= _MAX_NAME and clean == name:
        return name
    if len(clean) <= _MAX_NAME:
        return clean
    return f"{clean[: _MAX_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _object(required: Sequence[str], **properties: JSON) -> JSON:
    return {"type": "object", "properties": properties, "required": list(required)}


_STRING: Final[JSON] = {"type": "string"}
_INTEGER: Final[JSON] = {"type": "integer"}
_STRINGS: Final[JSON] = {"type": "array", "items": _STRING}

_CLIENT_RUN: Final[Mapping[str, Tool]] = {
    "local_shell": Tool(
        "local_shell",
        "local_shell",
        None,
        {
            "description": "Runs a command on the user's machine and returns its output.",
            "parameters": _object(
                ["command"],
                command={**_STRINGS, "description": "The program and its arguments, for example ['ls', '-l']."},
                timeout_ms=_INTEGER,
                working_directory=_STRING,
                env={"type": "object", "additionalProperties": _STRING},
            ),
        },
    ),
    "shell": Tool(
        "shell",
        "shell",
        None,
        {
            "description": "Runs shell commands on the user's machine and returns their output.",
            "parameters": _object(
                ["commands"],
                commands={**_STRINGS, "description": "Lines for the shell, each run for itself."},
                timeout_ms=_INTEGER,
                max_output_length=_INTEGER,
            ),
        },
    ),
    "apply_patch": Tool(
        "apply_patch",
        "apply_patch",
        None,
        {
            "description": "Creates, updates or deletes one file. `diff` is a V4A diff; `delete_file` needs none.",
            "parameters": _object(
                ["type", "path"],
                type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                path=_STRING,
                diff=_STRING,
            ),
        },
    ),
    "tool_search": Tool(
        "tool_search",
        "tool_search",
        None,
        {
            "description": "Finds more tools.",
            "parameters": _object(["query"], query=_STRING, limit=_INTEGER),
        },
    ),
}


class Choice(msgspec.Struct, frozen=True):
    """Which tools go to the model (None: all of them) and chat's `tool_choice`."""

    tool_choice: JSON = None
    allowed: frozenset[str] | None = None


def read_choice(choice: JSON, table: ToolTable, warnings: Warnings) -> Choice:
    """Return `tool_choice` in chat's shape.

    One that names a tool that is left out leaves the choice to the model.
    """
    if not isinstance(choice, Mapping):
        if choice == "required" and not table.definitions():
            warnings.add("tool_choice: 'required' is left out, since no tool can be offered.", of_chat=True)
            return Choice()
        return Choice(choice)
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        return _allowed({**choice, **inner} if isinstance(inner, Mapping) else choice, table, warnings)
    function = _chosen(choice, table)
    if function is None:
        warnings.add("tool_choice: it names a tool that is left out, so the model chooses.", of_chat=True)
        return Choice()
    return Choice({"type": "function", "function": {"name": function}})


def _allowed(choice: Mapping[str, JSON], table: ToolTable, warnings: Warnings) -> Choice:
    tools = choice.get("tools")
    chosen = (_chosen(tool, table) for tool in (tools if isinstance(tools, list) else ()))
    allowed = frozenset(function for function in chosen if function is not None)
    mode = choice.get("mode")
    if not allowed:
        warnings.add("tool_choice: none of the allowed tools can be offered.", of_chat=True)
        return Choice(None, allowed)
    return Choice("required" if mode == "required" else "auto", allowed)


def _chosen(choice: JSON, table: ToolTable) -> str | None:
    """Return the function of the tool that `choice` names; None where that tool is not offered."""
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if not isinstance(kind, str):
        return None
    if kind in _CLIENT_RUN and table.has(_CLIENT_RUN[kind].kind, _CLIENT_RUN[kind].name):
        return table.function_of(_CLIENT_RUN[kind].kind, _CLIENT_RUN[kind].name)
    inner = choice.get(kind) if kind in ("function", "custom") else None
    name = inner.get("name") if isinstance(inner, Mapping) else choice.get("name")
    if not isinstance(name, str):
        return None
    wanted: tuple[Kind, ...] = ("custom",) if kind == "custom" else ("function",)
    namespace = choice.get("namespace")
    for function, tool in table.kinds_of(name):
        if tool.kind in wanted and (namespace is None or tool.namespace == namespace):
            return function
    return None


def arguments_text(arguments: JSON) -> str:
    """Return arguments of a call as JSON text: clients write text, objects, or nothing."""
    if isinstance(arguments, str):
        return arguments or "{}"
    return "{}" if arguments is None else wirejson.encode(arguments).decode()
