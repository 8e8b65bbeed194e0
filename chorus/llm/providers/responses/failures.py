"""Errors that the Responses API reports inside of an answer, as typed errors. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chorus.errors import (
    ContentFiltered,
    LLMError,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.reading.endings import in_band_error
from chorus.llm.reading.error_bodies import error_message
from chorus.wirejson import JSON

_RATE_LIMITED: Final = frozenset({"rate_limit_exceeded", "insufficient_quota", "too_many_requests"})
_SERVERS: Final = frozenset({"server_error", "vector_store_timeout", "overloaded", "server_is_overloaded", "slow_down"})
_FILTERED: Final = frozenset(
    {
        *("bio_policy", "content_filter", "content_policy_violation", "cyber_policy"),
        *("image_content_policy_violation", "misalignment_policy_violation"),
    }
)
_REFUSED: Final = re.compile(
    r"invalid_|image_|context_length_exceeded|unsupported_|empty_image_file|failed_to_download_image|model_not_found"
)
_WAIT: Final = re.compile(r"try again in (\d+(?:\.\d+)?)\s?(ms|s|m)\b", re.IGNORECASE)
_SECS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def failure(name: str, error: JSON) -> LLMError:
    """Return the typed error for an `error` of a response or of an event; `name` is the model's.

    The status is the one that the API answers with where it knows the error before the answer
    begins."""
    inner = error.get("error") if isinstance(error, Mapping) else None
    shown = inner if isinstance(inner, Mapping) else error
    codes = [shown[key] for key in ("code", "type") if isinstance(shown.get(key), str)] if _is_object(shown) else []
    detail = error_message(dict(shown)) if _is_object(shown) else error_message(error)
    for code in codes:
        if code in _FILTERED:
            return ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter", detail=detail)
        if code in _RATE_LIMITED:
            return UpstreamRateLimited(f"Upstream '{name}' is rate limited", retry_after=_wait(detail), detail=detail)
        if code in _SERVERS:
            return UpstreamStatus(f"Upstream '{name}' failed in its answer", upstream_status=500, detail=detail)
        if _REFUSED.match(code):
            return UpstreamRefused(f"Upstream '{name}' refused the request (400)", upstream_status=400, detail=detail)
    return in_band_error(name, error)


def _is_object(value: JSON) -> bool:
    return isinstance(value, Mapping)


def _wait(detail: str) -> float | None:
    """Return the seconds that a sentence such as "Please try again in 1.5s." names."""
    named = _WAIT.search(detail)
    return float(named[1]) * _SECS[named[2].lower()] if named is not None else None
