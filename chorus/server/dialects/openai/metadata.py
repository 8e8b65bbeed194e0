"""`metadata` of what is kept, within OpenAI's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chorus.errors import InvalidRequest
from chorus.wirejson import JSON

_MAX_PAIRS: Final = 16
_MAX_KEY_CHARS: Final = 64
_MAX_VALUE_CHARS: Final = 512


def check_metadata(metadata: Mapping[str, JSON]) -> None:
    """Raises InvalidRequest where a value is no text, or OpenAI's limits are exceeded."""
    if len(metadata) > _MAX_PAIRS:
        raise _invalid(f"at most {_MAX_PAIRS} pairs")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise _invalid("expected texts as values")
        if len(key) > _MAX_KEY_CHARS or len(value) > _MAX_VALUE_CHARS:
            raise _invalid(f"a key has at most {_MAX_KEY_CHARS} characters, a value {_MAX_VALUE_CHARS}")


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for 'metadata': {problem}.", param="metadata")
