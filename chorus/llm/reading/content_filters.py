"""Read from an upstream's error whether its content filter took the request or the answer (L3).
Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chorus.llm.reading.error_bodies import error_message
from chorus.llm.reading.lenient import value_of
from chorus.wirejson import JSON

_CODES: Final = frozenset(
    {
        "content_filter",  # OpenAI, Azure, Moonshot (in `type`)
        "content_filtered",
        "content_policy_violation",  # OpenAI's images
        "moderation_blocked",
        "responsibleaipolicyviolation",  # Azure's `innererror`
        "data_inspection_failed",  # Qwen
        "datainspectionfailed",
        "content exists risk",  # DeepSeek, whose code says `invalid_request_error`
    }
)
"""What a `code`, `type` or `message` says where a filter is the reason, in lower case."""
_RESULTS: Final = ("content_filter_result", "content_filter_results", "content_filters")
"""Where Azure says what it found, in the error, its `innererror`, or an entry of a list."""
_MAX_CATEGORIES: Final = 10
_MAX_ENTRIES: Final = 20


def filter_reason_of(body: bytes) -> str | None:
    """`filter_reason` of an error body as it came."""
    try:
        return filter_reason(value_of(body))
    except ValueError:
        return None


def filter_reason(body: JSON) -> str | None:
    """Return what a content filter says in an error body, the categories that it found first.

    None where it is another error. `body` is a whole body, or its `error` object.
    """
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    error: Mapping[str, Any] = inner if isinstance(inner, dict) else body
    innermost = error.get("innererror")
    holders = [error, innermost] if isinstance(innermost, dict) else [error]
    metadata = error.get("metadata")
    is_filtered = (
        any(_is_code(holder.get(name)) for holder in holders for name in ("code", "type", "message"))
        or "contentFilter" in body  # Zhipu
        or (isinstance(metadata, dict) and "flagged_input" in metadata)  # OpenRouter
    )
    if not is_filtered:
        return None
    flagged = [category for holder in holders for name in _RESULTS for category in _categories(holder.get(name))]
    categories = ", ".join(dict.fromkeys(flagged[:_MAX_CATEGORIES]))
    return ": ".join(filter(None, (categories, error_message(dict(error)))))


def _is_code(value: JSON) -> bool:
    return isinstance(value, str) and value.strip().lower() in _CODES


def _categories(results: JSON) -> Iterator[str]:
    """Yield the categories that a filter took something for, with how severe it was."""
    if isinstance(results, list):  # one for the prompt, one for each answer
        for entry in results[:_MAX_ENTRIES]:
            if isinstance(entry, dict):
                yield from _categories(entry.get("content_filter_results"))
    elif isinstance(results, dict):
        for category, result in list(results.items())[:_MAX_ENTRIES]:
            if isinstance(result, dict) and result.get("filtered") is True:
                severity = result.get("severity")
                yield f"{category} ({severity})" if isinstance(severity, str) else str(category)
