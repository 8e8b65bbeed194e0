"""Tools, the choice among them, and JSON schemas as the Messages API takes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chorus import wirejson
from chorus.llm.providers.anthropic.blocks import Block, marked
from chorus.llm.providers.anthropic.families import Family
from chorus.llm.providers.anthropic.lessons import SCHEMAS
from chorus.llm.providers.anthropic.schema_draft import in_draft_2020
from chorus.llm.providers.tool_schemas import UNIONS, is_plain, plain_object
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest
from chorus.wirejson import JSON

_NO_FIELDS: Final = {"type": "object", "properties": {}}
_MAX_DEPTH: Final = 32
_ODD_PROPERTY: Final = re.compile(r"[^a-zA-Z0-9_.\n-]|[^\n]{65}|^\n|\n\n|\n\Z|\A\Z")
"""Finds one that is refused among names in lines; some that are not, too."""
_PROPERTY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_LIMITS: Final = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
"""Keywords that structured outputs refuse, and without which a schema means the same in kind."""
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "required"})
_TABLES: Final = frozenset({"properties", "$defs", "definitions"})


def tool_fields(
    request: ChatRequest,
    given: Mapping[str, JSON],
    turns: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    family: Family,
    traits: Traits,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Return `tools` and `tool_choice` for a body.

    `given` holds the client's own fields of this wire, whose tools go out as they are: some run at
    Anthropic. `turns` are the messages of the body; `names` has the names of tools that are sent
    under another one.
    """
    native = given.get("tools")
    in_draft = SCHEMAS in traits.omit
    if isinstance(native, list) and native:
        tools = [_native(tool, names, warn, in_draft=in_draft) for tool in native if isinstance(tool, Mapping)]
    else:
        strict = family.structured and "strict" not in traits.omit
        written = (_tool(entry, names, warn, strict=strict, in_draft=in_draft) for entry in request.tools)
        tools = _without_doubles([tool for tool in written if tool is not None], warn)
    choice: Mapping[str, JSON] | None
    if tools:
        own = given.get("tool_choice")
        choice = own if isinstance(own, Mapping) else _choice(request.tool_choice, names)
        if choice is not None and choice.get("name") in names:
            choice = {**choice, "name": names[str(choice["name"])]}
    elif tools := _tools_of_history(turns):  # a history with calls is refused without tools
        choice = {"type": "none"}
    else:
        return {}
    if request.parallel_tool_calls is False and (choice is None or choice.get("type") != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, **({"tool_choice": dict(choice)} if choice is not None else {})}


def _native(
    tool: Mapping[str, JSON], names: Mapping[str, str], warn: Callable[[str], None], *, in_draft: bool
) -> Block:
    """Return a tool as a client of Anthropic's wrote it, a function with a name and a schema that
    are taken.
    """
    if tool.get("type") not in (None, "custom"):
        return dict(tool)
    name = str(tool.get("name"))
    schema = _input_schema(name, tool.get("input_schema"), warn, in_draft=in_draft)
    return {**tool, "name": names.get(name, name), "input_schema": schema}


def _without_doubles(tools: list[Block], warn: Callable[[str], None]) -> list[Block]:
    """Return the first tool of each name: the API refuses two of one."""
    named = {tool["name"]: tool for tool in reversed(tools)}
    if len(named) == len(tools):
        return tools
    warn("Of tools with the same name the first is sent: the API refuses the others.")
    return [tool for tool in tools if named[tool["name"]] is tool]


def _tool(
    entry: JSON, names: Mapping[str, str], warn: Callable[[str], None], *, strict: bool, in_draft: bool
) -> Block | None:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        warn(f"A tool of the type '{kind}' is left out: a model of Anthropic's has none such.")
        return None
    name = function["name"]
    schema = _input_schema(name, function.get("parameters"), warn, in_draft=in_draft)
    tool: Block = {"name": names.get(name, name), "input_schema": schema}
    if isinstance(function.get("description"), str) and function["description"]:
        tool["description"] = function["description"]
    if function.get("strict") is True:
        if strict and _is_strict(schema):
            tool["strict"] = True
        else:
            warn("'strict' of a tool is left out: the model does not take it with this schema.")
    return {**tool, **marked(entry)}


def _input_schema(name: str, schema: JSON, warn: Callable[[str], None], *, in_draft: bool) -> Mapping[str, JSON]:
    """Return the schema of a tool's arguments, as one object with names that the API takes.

    `in_draft`: in draft 2020-12 of JSON Schema as well, since the API has refused another one.
    """
    if not isinstance(schema, Mapping):
        return _NO_FIELDS
    fields: Mapping[str, JSON] = in_draft_2020(schema) if in_draft else schema
    if not is_plain(fields):
        if any(union in fields for union in UNIONS):
            warn(f"The schema of tool '{name}' is sent with the fields of all of its alternatives.")
        fields = plain_object(fields) if fields.keys() - {"type"} else {**fields, "type": "object"}
    properties = fields.get("properties")
    if not isinstance(properties, Mapping) or not _ODD_PROPERTY.search("\n".join(properties)):
        return fields
    odd = [key for key in properties if not _PROPERTY.fullmatch(key)]
    if not odd:
        return fields
    warn(f"Arguments of tool '{name}' are left out, whose names the API refuses: {', '.join(odd)[:200]}.")
    required = fields.get("required")
    kept = {key: value for key, value in properties.items() if key not in odd}
    needed = [key for key in required if key not in odd] if isinstance(required, list) else required
    return {**fields, "properties": kept, **({"required": needed} if "required" in fields else {})}


def _tools_of_history(turns: Sequence[Mapping[str, Any]]) -> list[Block]:
    names = dict.fromkeys(block["name"] for turn in turns for block in turn["content"] if block["type"] == "tool_use")
    return [{"name": name, "input_schema": _NO_FIELDS} for name in names]


def _choice(choice: JSON, names: Mapping[str, str]) -> dict[str, JSON] | None:
    """Return OpenAI's `tool_choice` as Anthropic's."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            return {"type": "tool", "name": names.get(function["name"], function["name"])}
        allowed = choice.get("allowed_tools")
        mode = allowed.get("mode") if isinstance(allowed, Mapping) else choice.get("mode")
        return {"type": "any"} if mode == "required" else {"type": "auto"}
    return {"type": {"required": "any", "none": "none"}.get(str(choice), "auto")} if choice is not None else None


def strict_schema(schema: JSON, depth: int = 0) -> JSON:
    """Return `schema` as structured outputs take it: objects are closed, limits are left out.

    Raises:
        ValueError: it has objects of any fields, or is too deep.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("too many levels")
    if isinstance(schema, list):
        return [strict_schema(entry, depth + 1) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    is_object = schema.get("type") == "object"
    if is_object and (schema.get("additionalProperties") or not schema.get("properties")):
        raise ValueError("an object of any fields")
    kept = {name: _kept(name, value, depth) for name, value in schema.items() if name not in _LIMITS}
    return {**kept, "additionalProperties": False} if is_object else kept


def _kept(name: str, value: JSON, depth: int) -> JSON:
    """Return the value of one keyword: tables of schemas have names of the client's own."""
    if name in _VALUES:
        return value
    if name in _TABLES and isinstance(value, Mapping):
        return {key: strict_schema(entry, depth + 1) for key, entry in value.items()}
    return strict_schema(value, depth + 1)


def _is_strict(schema: JSON) -> bool:
    """Return whether structured outputs take `schema` as it is."""
    try:
        return bool(strict_schema(schema) == schema)
    except ValueError:
        return False


def format_fields(
    request: ChatRequest, given: Mapping[str, JSON], family: Family, traits: Traits, warn: Callable[[str], None]
) -> tuple[dict[str, JSON] | None, str]:
    """Return `output_config.format`, or an instruction where the model or the schema has none."""
    output = given.get("output_config")
    own = output.get("format") if isinstance(output, Mapping) else given.get("output_format")
    takes = family.structured and "output_config.format" not in traits.omit
    if isinstance(own, Mapping) and takes:
        return dict(own), ""
    wanted = request.response_format
    if not isinstance(wanted, Mapping) or wanted.get("type") not in ("json_schema", "json_object"):
        return None, ""
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if not isinstance(schema, Mapping):
        return None, "Reply with one JSON object and nothing else."
    if takes:
        try:
            return {"type": "json_schema", "schema": strict_schema(schema)}, ""
        except ValueError as problem:
            warn(f"'response_format' is sent as an instruction: its schema has {problem}.")
    else:
        warn("'response_format' is sent as an instruction: the model has no field for it.")
    text = wirejson.encode(schema).decode()
    return None, f"Reply with one JSON object that matches this JSON schema, and nothing else:\n{text}"
