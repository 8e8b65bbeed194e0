"""The form that a client wants its answer in, and whether a text has it (W10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from chorus import wirejson
from chorus.types import ChatRequest
from chorus.wirejson import JSON
from chorus.workflow.judging.fence import unfenced
from chorus.workflow.judging.schema import NotASchema, Schema, TooMuchWork

_MAX_VALUES: Final = 500_000
"""About how many values an answer may have to be read here; each takes 0.1 µs and 60 bytes."""

_log = structlog.get_logger("chorus.workflow")


class ResponseFormat:
    """JSON: an object, or what a schema describes where one was given. A schema that is none
    itself, or cannot be applied, is taken as "any JSON".

    Schema and answers are foreign, so that looking at them is bounded (`schema/`). What is beyond
    the bound counts as having the form: the schema has gone to the upstreams as it is, which are
    then the ones to enforce it, and the log has a warning.
    """

    def __init__(self, schema: JSON) -> None:
        self._wants_object = not schema
        self._schema: Schema | None = None
        self.unchecked = ""
        """Why the last answer was not held against the schema; empty where it was."""
        try:
            self._schema = Schema(schema) if schema else None
        except NotASchema as problem:
            self._pass(f"the schema cannot be applied here: {problem}")
        except TooMuchWork:
            self._pass("the schema is larger than what is enforced here")
        self._inapplicable = self.unchecked

    def validated(self, text: str) -> str | None:
        """Return `text` without a code fence if it has the wanted format, else None."""
        self.unchecked = self._inapplicable
        bare = unfenced(text)
        if bare.count("[") + bare.count("{") + bare.count(",") > _MAX_VALUES:
            self._pass("the answer has more values than are read here")
            return bare
        try:
            value = wirejson.decode(bare)
        except ValueError:
            return None
        if self._schema is None:
            return bare if isinstance(value, dict) or not self._wants_object else None
        try:
            return bare if self._schema.is_valid(value) else None
        except TooMuchWork:
            self._pass("checking the answer takes more work than is done here")
            return bare

    def _pass(self, reason: str) -> None:
        self.unchecked = reason
        _log.warning("schema not enforced", reason=reason)


def wanted(request: ChatRequest) -> ResponseFormat | None:
    """Return the response format that `request` asks for; None where any text will do."""
    response_format = request.response_format
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_object":
        return ResponseFormat(None)
    if kind == "json_schema":
        described = response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return ResponseFormat(schema if isinstance(schema, Mapping) else None)
    return None
