"""The form that a client wants its answer in, and whether a text has it (W10). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chorus import wirejson
from chorus.types import ChatRequest
from chorus.wirejson import JSON

_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL | re.IGNORECASE)


class Shape:
    """JSON, of a schema where one was given. A schema that is none itself, or cannot be applied, is taken as "any JSON".

    The schema is the client's, so it is kept on a short leash: references to addresses are never fetched, and `pattern`s
    are left to the upstream, since one of them can keep Python's `re` busy for ever.
    """

    def __init__(self, schema: Mapping[str, JSON] | None) -> None:
        self._validator: Any = _validator(schema) if schema else None

    def fitted(self, text: str) -> str | None:
        """`text` without a code fence around it, when it has the wanted form; None when it has not."""
        fenced = _FENCED.match(text)
        bare = (fenced[1] if fenced is not None else text).strip()
        try:
            value = wirejson.decode(bare)
        except ValueError:
            return None
        if self._validator is None:
            return bare if isinstance(value, dict) else None
        return bare if _is_valid(self._validator, value) else None


def wanted(request: ChatRequest) -> Shape | None:
    """The form that `request` asks for; None where any text will do."""
    form = request.response_format
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind == "json_object":
        return Shape(None)
    if kind == "json_schema":
        described = form.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return Shape(schema if isinstance(schema, Mapping) else None)
    return None


def _validator(schema: Mapping[str, JSON]) -> Any:
    # imported where it is needed: few requests have a schema, and every idle server would hold its 5 MB
    import jsonschema
    import referencing

    bounded = _without_patterns(schema)
    try:
        jsonschema.Draft202012Validator.check_schema(bounded)
    except (jsonschema.SchemaError, RecursionError):
        return None
    return jsonschema.Draft202012Validator(bounded, registry=referencing.Registry())  # one that fetches nothing


def _is_valid(validator: Any, value: JSON) -> bool:
    import referencing.exceptions

    try:
        return bool(validator.is_valid(value))
    except (RecursionError, referencing.exceptions.Unresolvable):
        return True  # a schema that nothing can be held to


def _without_patterns(schema: JSON, *, names: bool = False) -> JSON:
    """`schema` without its regular expressions; `names` where the keys are the client's own names, not keywords."""
    if isinstance(schema, list):
        return [_without_patterns(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = dict(schema)
    if not names:
        kept.pop("pattern", None)
        if kept.pop("patternProperties", None) is not None:
            kept.pop("additionalProperties", None)  # which would now refuse what a pattern allowed
    return {
        key: value
        if key in ("const", "enum", "default") and not names
        else _without_patterns(value, names=key in _NAMED)
        for key, value in kept.items()
    }
