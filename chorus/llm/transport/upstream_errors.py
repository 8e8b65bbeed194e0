"""Turn what fails between us and an upstream into typed errors (L3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

from chorus.errors import (
    ChorusError,
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.base import ConnectionClosed
from chorus.llm.transport.http import CannotConnect

BROKEN: Final = (OSError, ValueError)
"""What `transport` raises where a connection or an answer is not as it should be."""

_REFUSED: Final = frozenset({400, 413, 422})
_BUSY: Final = frozenset({503, 529})
"""Statuses of a server that has too much to do; 529 is Anthropic's."""


def transport_error(problem: Exception, name: str, *, reading: bool = False) -> ChorusError:
    """Return the typed error for what `transport` raised."""
    if reading:
        return UpstreamProtocol(f"Upstream '{name}' broke off in the middle of its answer ({type(problem).__name__})")
    if isinstance(problem, TimeoutError):
        return UpstreamConnect(f"Upstream '{name}' did not accept a connection in time")
    if isinstance(problem, ConnectionResetError | BrokenPipeError):
        return ConnectionClosed(f"Upstream '{name}' closed the connection without an answer")
    if isinstance(problem, CannotConnect):
        return UpstreamConnect(f"Upstream '{name}' cannot be reached ({_reason(problem)})")
    if isinstance(problem, OSError):
        return UpstreamConnect(f"The connection to upstream '{name}' failed ({_reason(problem)})")
    return UpstreamProtocol(f"Upstream '{name}' did not answer in HTTP as we know it ({type(problem).__name__})")


def _reason(cause: Exception) -> str:
    return getattr(cause, "strerror", None) or type(cause).__name__


def status_error(status: int, name: str, detail: str, headers: Mapping[str, str]) -> LLMError:
    """Return the typed error for an error status of an upstream."""
    if status == 429:
        return UpstreamRateLimited(
            f"Upstream '{name}' is rate limited", retry_after=retry_after_secs(headers), detail=detail
        )
    if status in _REFUSED:
        return UpstreamRefused(
            f"Upstream '{name}' refused the request ({status})", upstream_status=status, detail=detail
        )
    why = " (is its api_key right?)" if status in (401, 403) else ""
    wait = retry_after_secs(headers) if status in _BUSY else None
    return UpstreamStatus(
        f"Upstream '{name}' answered with status {status}{why}",
        upstream_status=status,
        detail=detail,
        retry_after=wait,
    )


def retry_after_secs(headers: Mapping[str, str]) -> float | None:
    """Seconds until a retry makes sense, from `retry-after-ms` or `Retry-After` (seconds or a date,
    RFC 9110).
    """
    try:
        if value := headers.get("retry-after-ms"):
            secs = float(value) / 1000
        elif value := headers.get("retry-after"):
            secs = float(value) if value.strip()[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time()
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return max(secs, 0.0) if math.isfinite(secs) else None
