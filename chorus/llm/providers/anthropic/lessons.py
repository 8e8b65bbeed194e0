"""Learn from what only Anthropic refuses: the draft of schemas. The rest is `learning`'s. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chorus.llm.providers import learning
from chorus.llm.providers.learning import Lesson, statements
from chorus.llm.providers.traits import Traits

SCHEMAS: Final = "input_schema"
"""In `Traits.omit`: schemas are written in the draft that the API reads."""
_DRAFT: Final = Lesson(SCHEMAS, instead="JSON Schema draft 2020-12")
_INVALID: Final = re.compile(r"input_schema.{0,40}JSON schema is invalid", re.IGNORECASE)


def lesson_of(status: int, error: bytes, content: bytes, traits: Traits, before: Sequence[Lesson]) -> Lesson | None:
    """Return what a refusal teaches; None where it is the caller's own fault. The arguments are
    those of `learning.lesson_of`."""
    if status == 400 and SCHEMAS not in traits.omit and any(map(_INVALID.search, statements(error))):
        return _DRAFT
    return learning.lesson_of(status, error, content, traits, before)
