"""The schemas of functions as APIs take them that want one plain object. Pure.

OpenAI and Anthropic refuse a schema that begins with `anyOf`, `oneOf` or `allOf`, or without
`"type": "object"`; MCP servers and validators of other languages write such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chorus.wirejson import JSON

UNIONS: Final = ("anyOf", "oneOf", "allOf")
_MAX_REFERENCES: Final = 8
_MAX_DEPTH: Final = 4


def plain_object(schema: JSON, refused: Sequence[str] = UNIONS, depth: int = 0) -> dict[str, Any]:
    """Return `schema` as one object, without the keywords in `refused` at its top.

    The fields of all alternatives are its fields, and required are those that each of them
    requires: it allows more, and everything that `schema` allows. `depth` is that of alternatives
    inside of others, which are looked into up to `_MAX_DEPTH`.
    """
    resolved = _resolved(schema, schema)
    merged = {name: value for name, value in resolved.items() if name not in refused}
    if merged.get("type") != "object":
        merged["type"] = "object"
    properties = merged.get("properties")
    fields: dict[str, JSON] = dict(properties) if isinstance(properties, Mapping) else {}
    required = _required(merged)
    is_merged = False
    for union in UNIONS:
        parts = resolved.get(union)
        if union not in refused or not isinstance(parts, list) or depth == _MAX_DEPTH:
            continue
        resolved_parts = [_resolved(part, schema) for part in parts if isinstance(part, Mapping)]
        objects = [plain_object(part, refused, depth + 1) for part in resolved_parts]
        objects = [branch for branch in objects if branch.keys() & {"properties", "required"} or union == "allOf"]
        for name, value in (pair for branch in objects for pair in branch.get("properties", {}).items()):
            fields[name] = value if fields.get(name, value) == value else _either(fields[name], value)
        required |= _common([_required(branch) for branch in objects], is_all=union == "allOf")
        is_merged = is_merged or bool(objects)
    if is_merged or "properties" not in merged:
        merged["properties"] = fields
    if is_merged:
        merged.pop("required", None)
        merged.pop("additionalProperties", None)
        if required:
            merged["required"] = [name for name in fields if name in required]
    return merged


def is_plain(schema: Mapping[str, JSON], refused: Sequence[str] = UNIONS) -> bool:
    """Return whether `schema` can go out as it is."""
    return schema.get("type") == "object" and "$ref" not in schema and schema.keys().isdisjoint(refused)


def _resolved(schema: JSON, root: JSON) -> Mapping[str, JSON]:
    """Return a schema, or the one in the same document that it refers to."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        target: JSON = root
        for key in reference[2:].split("/"):
            target = target.get(key) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            return {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return {}


def _required(schema: Mapping[str, JSON]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _common(required: list[set[str]], *, is_all: bool) -> set[str]:
    """Return the fields that all of the alternatives require, or `is_all`: that any of them
    does.
    """
    if not required:
        return set()
    return set.union(*required) if is_all else set.intersection(*required)


def _either(one: JSON, other: JSON) -> dict[str, JSON]:
    """Return a schema that allows both."""
    known = one.get("anyOf") if isinstance(one, Mapping) and one.keys() == {"anyOf"} else None
    choices = list(known) if isinstance(known, list) else [one]
    return {"anyOf": choices if other in choices else [*choices, other]}
