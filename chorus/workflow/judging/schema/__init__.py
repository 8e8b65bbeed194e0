"""Whether a value fits a JSON Schema (draft 2020-12), within a bound on the work. Pure.

The schema is a client's and the value an upstream's, so that neither may decide how long this
takes: every step is counted. A library does not count: 2 kB of `$ref`s that double kept
`jsonschema`, used here before, busy for 44 s, and looking at one item takes it 20 µs, where a
compiled check takes 0.3.

Not looked at, and left to the upstream: `pattern` and `patternProperties`, since a regular
expression can keep Python's `re` busy for ever; `format`; `unevaluatedProperties` and
`unevaluatedItems`.
"""

from __future__ import annotations

from typing import Final

from chorus.wirejson import JSON
from chorus.workflow.judging.schema.compiler import Compiler, NotASchema, TooMuchWork, Work
from chorus.workflow.judging.schema.keywords import KEYWORDS

__all__ = ["NotASchema", "Schema", "TooMuchWork"]

_VALIDATING: Final = 100_000
"""Steps that validating may take, each a schema that is applied or a value that is compared. 50 ms;
an answer of 200 kB of small objects takes as many."""


class Schema:
    """A schema, ready to be held against values."""

    def __init__(self, schema: JSON) -> None:
        """`schema` as JSON.

        Raises:
            NotASchema: it is none, or has a reference to something else than a part of itself.
            TooMuchWork: it is larger than it may be.
        """
        self._root = Compiler(schema, KEYWORDS).root()

    def is_valid(self, value: JSON) -> bool:
        """Return whether `value` fits; `value` is as `wirejson.decode` gives it.

        Raises:
            TooMuchWork: finding out takes more steps than it may.
        """
        try:
            return self._root.is_valid(value, Work(_VALIDATING))
        except RecursionError:
            raise TooMuchWork from None
