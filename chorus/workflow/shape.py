"""The form that a client wants its answer in, and whether a text has it (W10). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chorus import wirejson
from chorus.types import ChatRequest
from chorus.wirejson import JSON

_FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL | re.IGNORECASE)


class Shape:
    """JSON, of a schema where one was given. A schema that is none itself is taken as "any JSON"."""

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
        return bare if self._validator.is_valid(value) else None


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

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return None
    return jsonschema.Draft202012Validator(schema)
