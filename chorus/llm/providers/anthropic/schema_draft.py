"""Schemas of tools in the draft of JSON Schema that Anthropic reads. Pure.

The API refuses all tools where one schema is not of draft 2020-12, and names only its place. MCP
servers write earlier drafts, types of their language, or values of another kind than a keyword
takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chorus.wirejson import JSON

_MAX_DEPTH: Final = 32
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_OTHER_TYPES: Final = {
    "bool": "boolean",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "list": "array",
    "str": "string",
    "text": "string",
}
"""Names of types in other languages."""
_SCHEMAS: Final = frozenset(
    {
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_TABLES: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_length(value: JSON) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: JSON) -> bool:
    return isinstance(value, str)


def _is_names(value: JSON) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_TAKEN: Final[Mapping[str, Callable[[JSON], bool]]] = {
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), _is_number),
    **dict.fromkeys(
        ("maxContains", "maxItems", "maxLength", "maxProperties", "minContains", "minItems", "minLength"), _is_length
    ),
    "minProperties": _is_length,
    "multipleOf": lambda value: isinstance(value, int | float) and value > 0,
    **dict.fromkeys(("$anchor", "$comment", "description", "format", "pattern", "title", "$ref"), _is_text),
    **dict.fromkeys(("deprecated", "readOnly", "uniqueItems", "writeOnly"), lambda value: isinstance(value, bool)),
    **dict.fromkeys(("enum", "examples"), lambda value: isinstance(value, list)),
    "required": lambda value: _is_names(value) and len(set(value)) == len(value),
}
"""What a keyword takes; with another value it is left out."""
_LEFT_OUT: Final = frozenset({"$id", "$schema", "id", "$vocabulary", "$dynamicRef", "$dynamicAnchor", "dependencies"})


def in_draft_2020(schema: JSON, depth: int = 0) -> dict[str, Any]:
    """Return `schema` in draft 2020-12, without what cannot be said in it."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    written: dict[str, Any] = {}
    for name, value in _renamed(schema).items():
        if name in _LEFT_OUT or not (_TAKEN.get(name) or _any)(value):
            continue
        if name == "type":
            if (kind := _type(value)) is not None:
                written["type"] = kind
        elif name in _SCHEMAS:
            if value is not None:
                written[name] = value if isinstance(value, bool) else in_draft_2020(value, depth + 1)
        elif name in _LISTS:
            if isinstance(value, list) and value:
                written[name] = [in_draft_2020(schema, depth + 1) for schema in value]
        elif name in _TABLES:
            if isinstance(value, Mapping):
                written[name] = {key: in_draft_2020(schema, depth + 1) for key, schema in value.items()}
        else:
            written[name] = value
    return written


def _any(value: JSON) -> bool:
    return True


def _renamed(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the keywords of earlier drafts by their names and values in this one."""
    renamed = dict(schema)
    if isinstance(schema.get("items"), list):  # a schema for each place
        renamed["prefixItems"] = schema["items"]
        renamed.pop("items")
        if "additionalItems" in schema:
            renamed["items"] = schema["additionalItems"]
    renamed.pop("additionalItems", None)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if schema.get(exclusive) is True and bound in renamed:
            renamed[exclusive] = renamed.pop(bound)
    return renamed


def _type(value: JSON) -> str | list[str] | None:
    """Return a type, or those of a list, by the names that there are; None where none is left."""
    if isinstance(value, list):
        known = dict.fromkeys(kind for schema in value if isinstance(kind := _type(schema), str))
        return list(known) or None
    name = value.lower() if isinstance(value, str) else ""
    kind = _OTHER_TYPES.get(name, name)
    return kind if kind in _TYPES else None
