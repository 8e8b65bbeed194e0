"""Which errors are retried, when, and how often (L4). Pure: `now` comes from the caller, in
seconds.

There is one layer of retries, in the pool of a model, and it acts only until the first piece of the
answer is delivered. Its budget keeps a struggling upstream from drowning in them (Google SRE book,
"Handling Overload").
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

from chorus.errors import (
    ContentFiltered,
    LLMError,
    UpstreamRefused,
    UpstreamStatus,
)

BASE_SECS: Final = 0.1
MAX_SECS: Final = 5.0
MAX_RETRY_AFTER_SECS: Final = 15.0
"""Seconds. An upstream that names a longer time is not waited for: the caller gets its error."""

_RETRIED: Final = frozenset({408, 409, 429})
_SHARE: Final = 0.2
_FREE_PER_SEC: Final = 10.0
_WINDOW_SECS: Final = 10.0


def is_retryable(error: LLMError) -> bool:
    """Return whether another attempt may succeed.

    So it is for connect errors, 408, 409, 429, 5xx, and answers that are none.
    """
    if isinstance(error, UpstreamRefused | ContentFiltered):
        return False
    if isinstance(error, UpstreamStatus):
        return error.upstream_status in _RETRIED or error.upstream_status >= 500
    return True


def pause(error: LLMError, attempt: int, rng: Random) -> float | None:
    """Return the seconds to wait before attempt number `attempt` + 1 at the same replica.

    None when that would be too long. The upstream's own number counts; else exponential backoff
    with full jitter (AWS, 2015).
    """
    if isinstance(error, UpstreamStatus) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= MAX_RETRY_AFTER_SECS else None
    return rng.uniform(0.0, min(BASE_SECS * 2 ** (attempt - 1), MAX_SECS))


class RetryBudget:
    """The budget of retries: a fifth of the calls of the last ten seconds.

    Ten a second are allowed in any case.
    """

    def __init__(self) -> None:
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def called(self, now: float) -> None:
        """A call, none of its retries, begins."""
        self._calls.append(now)
        _forget(self._calls, now)

    def allows(self, now: float) -> bool:
        """Return whether a retry may be made now; it counts as made."""
        _forget(self._calls, now)
        _forget(self._retries, now)
        if len(self._retries) >= _SHARE * len(self._calls) + _FREE_PER_SEC * _WINDOW_SECS:
            return False
        self._retries.append(now)
        return True


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] <= now - _WINDOW_SECS:
        times.popleft()
