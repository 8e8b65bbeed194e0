"""Notes on a user: short texts by key, and their limits (M4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chorus.errors import InvalidRequest
from chorus.storage.records import merging
from chorus.usage import estimate_tokens

MAX_KEY_CHARS: Final = 64
MAX_NOTE_CHARS: Final = 2000
MAX_CHANGES: Final = 1000
"""Notes that one request may name."""


@dataclass(frozen=True, slots=True)
class NoteLimits:
    """How much may be noted of one user. All notes stand in each prompt, so `max_tokens` bounds
    them together."""

    max_notes: int = 100
    max_tokens: int = 4000


def merged_notes(notes: Mapping[str, str], changes: Mapping[str, Any], limits: NoteLimits) -> dict[str, str]:
    """Return `notes` with `changes`; null removes a note.

    Raises:
        InvalidRequest: a note is no text, or a limit is exceeded; `param` names the note.
    """
    if len(changes) > MAX_CHANGES:
        raise InvalidRequest(f"A request changes at most {MAX_CHANGES} notes.", param="notes")
    for key, value in changes.items():
        if value is not None:
            _check(key, value)
    merged = merging(changes)(dict(notes))
    if len(merged) > max(limits.max_notes, len(notes)):
        raise InvalidRequest(f"A user has at most {limits.max_notes} notes.", param="notes")
    tokens = tokens_of(merged)
    if tokens > limits.max_tokens and tokens > tokens_of(notes):
        raise InvalidRequest(f"A user's notes have at most {limits.max_tokens} tokens together.", param="notes")
    return merged


def tokens_of(notes: Mapping[str, str]) -> int:
    """Return about how many tokens all `notes` have together."""
    return sum(estimate_tokens(key) + estimate_tokens(text) for key, text in notes.items())


def _check(key: str, value: object) -> None:
    """Raises InvalidRequest as `merged_notes` does."""
    place = f"notes.{key[:MAX_KEY_CHARS]}"
    if not 0 < len(key) <= MAX_KEY_CHARS:
        raise InvalidRequest(f"A note's key has 1 to {MAX_KEY_CHARS} characters.", param=place)
    if not isinstance(value, str):
        raise InvalidRequest(f"Invalid value for '{place}': expected a text or null.", param=place)
    if len(value) > MAX_NOTE_CHARS:
        raise InvalidRequest(f"A note has at most {MAX_NOTE_CHARS} characters.", param=place)
