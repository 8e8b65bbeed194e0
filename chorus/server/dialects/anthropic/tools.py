"""The tools of Anthropic's dialect as functions in OpenAI's chat shape.

Tools that run on Anthropic's machines are left out with a warning. Those with a schema of
Anthropic's own that the client runs itself (`bash`, `text_editor`, `memory`) become functions with
that schema, as its documentation has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chorus.errors import InvalidRequest
from chorus.server.dialects.warnings import Warnings
from chorus.types import Tools
from chorus.wirejson import JSON

_USED: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_STRING: Final = {"type": "string"}
_LINES: Final = {"type": "array", "items": {"type": "integer"}}
_BASH: Final = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "description": "The bash command to run."},
        "restart": {"type": "boolean", "description": "Set to true to restart the bash session."},
    },
}
_EDITOR: Final = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string", "description": "Absolute path of a file or directory."},
        "file_text": {**_STRING, "description": "For create: the text of the new file."},
        "old_str": {**_STRING, "description": "For str_replace: the text to be replaced, which stands there once."},
        "new_str": {**_STRING, "description": "For str_replace: the text in its place."},
        "insert_line": {
            "type": "integer",
            "description": "For insert: the line after which the text goes; 0 for the top.",
        },
        "insert_text": {**_STRING, "description": "For insert: the text."},
        "view_range": {**_LINES, "description": "For view: the first and the last line; -1 for the end of the file."},
    },
    "required": ["command", "path"],
}
_MEMORY: Final = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
        "path": {"type": "string", "description": "A path below /memories."},
        "file_text": _STRING,
        "old_str": _STRING,
        "new_str": _STRING,
        "insert_line": {"type": "integer"},
        "insert_text": _STRING,
        "view_range": _LINES,
        "old_path": _STRING,
        "new_path": _STRING,
    },
    "required": ["command"],
}
_KNOWN: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    ("bash_", "Run commands in a bash shell, which keeps its state between calls.", _BASH),
    ("text_editor_", "View, create and edit files.", _EDITOR),
    ("memory_", "Store and read notes in files below /memories, which stay between conversations.", _MEMORY),
)
"""What the types of tools that clients run themselves begin with; their dates follow."""


def tools(wire: Sequence[Mapping[str, JSON]], warnings: Warnings) -> Tools:
    """Return the tools as functions.

    A sentence in `warnings` for each that is converted or left out.

    Raises:
        InvalidRequest: one of the client's own has no name, or a field of it has the wrong type.
    """
    functions: list[JSON] = []
    for position, tool in enumerate(wire):
        place = f"tools[{position}]"
        kind = tool.get("type")
        schema = tool.get("input_schema")
        if kind not in (None, "custom") and schema is None:
            if (function := _known(tool, str(kind))) is None:
                warnings.add(f"`{place}` is left out: this type of tool is not supported here.")
                continue
            warnings.add(f"`{place}` is sent as a function with the schema of its documentation.")
        else:
            function = _own(tool, schema, place)
            if unused := sorted(tool.keys() - _USED):
                warnings.add(f"{', '.join(f'`{place}.{name}`' for name in unused[:8])}: left out.")
        mark = tool.get("cache_control")
        functions.append({"type": "function", "function": function, **({"cache_control": mark} if mark else {})})
    return Tools(functions)


def _own(tool: Mapping[str, JSON], schema: JSON, place: str) -> dict[str, JSON]:
    """Return a tool of the client's own; one without a schema takes nothing."""
    name, description = tool.get("name"), tool.get("description")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required field '{place}.name'.", param=f"{place}.name")
    if schema is not None and not isinstance(schema, Mapping):
        where = f"{place}.input_schema"
        raise InvalidRequest(f"Invalid value for '{where}': expected an object.", param=where)
    function: dict[str, JSON] = {"name": name, "parameters": schema or {"type": "object", "properties": {}}}
    if isinstance(description, str) and description:
        function["description"] = description
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    return function


def _known(tool: Mapping[str, JSON], kind: str) -> dict[str, JSON] | None:
    for prefix, description, schema in _KNOWN:
        if kind.startswith(prefix):
            name = tool.get("name")
            return {
                "name": name if isinstance(name, str) and name else prefix.rstrip("_"),
                "description": description,
                "parameters": schema,
            }
    return None


def tool_choice(choice: Mapping[str, JSON] | None, offered: Tools, warnings: Warnings) -> JSON:
    """Return Anthropic's `tool_choice` as OpenAI's.

    One that names a tool which is left out is left out too.
    """
    kind = choice.get("type") if choice is not None else None
    if kind == "tool" and choice is not None:
        name = choice.get("name")
        if name not in [tool["function"]["name"] for tool in offered]:
            warnings.add("`tool_choice` is left out: it names a tool that is not there.")
            return None
        return {"type": "function", "function": {"name": name}}
    return {"any": "required", "none": "none", "auto": "auto"}.get(str(kind))
