"""Learn from the refusals of the Responses API, whose fields have paths: `reasoning.effort`,
`text.verbosity`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chorus import wirejson
from chorus.llm.providers.learning import Lesson, effort_lesson, refuses_field, statements
from chorus.llm.providers.traits import Traits
from chorus.wirejson import JSON

_OPTIONAL: Final = (
    *("reasoning.effort", "reasoning.summary", "text.verbosity", "temperature", "top_p", "parallel_tool_calls"),
    *("max_output_tokens", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
    *("truncation", "metadata", "user", "include", "top_logprobs", "max_tool_calls", "context_management", "store"),
    *("top_k", "min_p"),
)
"""Paths of fields without which the answer is the same in kind."""
_NAMES: Final = {"text.verbosity": "verbosity"}
"""The names of fields in `Traits.omit`, where these differ from the path."""
_ENCRYPTED: Final = re.compile(r"encrypted content is not supported|reasoning\.encrypted_content", re.IGNORECASE)
_NOT_VERIFIED: Final = re.compile(r"verified to generate reasoning summar", re.IGNORECASE)
_UNREADABLE: Final = re.compile(
    r"invalid_encrypted_content|without its required (?:following|'?reasoning'?) item|encrypted content.{0,120}(?:could not be|cannot be|can't be) (?:verified|decrypted)",
    re.IGNORECASE,
)
_TEACHING: Final = frozenset({400, 422})


def lesson_of(status: int, error: bytes, content: bytes, traits: Traits, before: Sequence[Lesson]) -> Lesson | None:
    """Return what the refusal of a request teaches; None where it is the caller's own fault. The
    arguments are those of `learning.lesson_of`."""
    if status not in _TEACHING:
        return None
    try:
        sent: dict[str, Any] = wirejson.decode(content)
    except ValueError:
        return None
    for statement in statements(error):
        lesson = _of_statement(statement, sent)
        if lesson is not None and lesson not in before:
            return lesson
    return None


def _of_statement(statement: str, sent: Mapping[str, Any]) -> Lesson | None:
    if _UNREADABLE.search(statement):
        return Lesson("reasoning_details", is_kept=False)
    if "reasoning.encrypted_content" in (sent.get("include") or ()) and _ENCRYPTED.search(statement):
        return Lesson("reasoning.encrypted_content")
    if _at(sent, "reasoning.summary") is not None and _NOT_VERIFIED.search(statement):
        return Lesson("reasoning.summary")
    named = [path for path in _OPTIONAL if _at(sent, path) is not None and _names(statement, path)]
    if not named:
        return None
    path = named[0]
    if path == "reasoning.effort" and (lesson := effort_lesson(statement, _at(sent, path))) is not None:
        return lesson
    return Lesson(_NAMES.get(path, path)) if refuses_field(statement) else None


def _at(sent: Mapping[str, Any], path: str) -> JSON:
    value: JSON = sent
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _names(statement: str, path: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_.]){re.escape(path)}(?![A-Za-z0-9_])", statement) is not None
