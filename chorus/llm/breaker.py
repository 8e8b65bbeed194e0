"""When a replica is left alone, and when it is tried again (D1). Pure: `now` comes from the caller, in seconds.

A replica that failed `FAILURES` times in a row is quarantined, for 30 s the first time, 60 s the second, up to 300 s. When
that is over it is half-open: exactly one call may try it, however many wait; what comes of that one closes the circuit or
opens it again for longer. A call that its client cancelled says nothing, nor does one that was told to come later.

A health check (D4) counts like a call where it fails. Where it succeeds it never closes a circuit, since a server may list its
models and fail at everything else; but where checks had failed and one succeeds, the server has come back, and a call may try
it at once. So checks take no part in "exactly one call may try it".
"""

from __future__ import annotations

from typing import Final, Literal

from chorus.errors import (
    ContentFiltered,
    LLMError,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)

FAILURES: Final = 3
"""Failures in a row that open the circuit."""
AILING_SECS: Final = 2.0
"""For so long, times the failures in a row, others are preferred to a replica that is not quarantined yet."""
WINDOW_SECS: Final = 30.0
MAX_WINDOW_SECS: Final = 300.0

State = Literal["closed", "open", "half_open"]
Outcome = Literal["success", "failure", "neutral"]


def outcome_of(error: LLMError) -> Outcome:
    """What a failed call says of the replica: a refusal of the request speaks for its health, a full house (429, 503) for
    nothing, everything else against it."""
    if isinstance(error, UpstreamRateLimited):
        return "neutral"
    if isinstance(error, UpstreamRefused | ContentFiltered):
        return "success"
    if isinstance(error, UpstreamStatus):
        if error.upstream_status == 503:
            return "neutral"
        return "success" if error.upstream_status < 500 else "failure"
    return "failure"


class Breaker:
    """The circuit of one replica."""

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row."""
        self._failed_checks = 0
        """How many of them were checks; one that succeeds takes back those, and not the calls."""
        self._failed_at = 0.0
        self._opened = 0
        """How often in a row it was opened."""
        self._until = 0.0
        self._is_probing = False

    def state(self, now: float) -> State:
        """Closed: calls go through. Open: none does. Half-open: one may try."""
        if not self._opened:
            return "closed"
        return "open" if now < self._until else "half_open"

    def retry_in(self, now: float) -> float:
        """Seconds until it may be tried; 0 when it may be now."""
        return max(self._until - now, 0.0) if self._opened else 0.0

    def ailing(self, now: float) -> int:
        """Failures in a row, while they are recent: after a few seconds the next call shall find out."""
        return self.failures if now - self._failed_at < AILING_SECS * self.failures else 0

    def admits(self, now: float) -> bool:
        """Whether a call may go through now. `begin` must follow at once where one does."""
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self._is_probing)

    def begin(self, now: float) -> bool:
        """A call goes through; tells whether it is the probe, which `end` must be told again."""
        if self.state(now) == "half_open" and not self._is_probing:
            self._is_probing = True
            return True
        return False

    def end(self, outcome: Outcome, now: float, *, is_probe: bool) -> None:
        """A call is over. Of those that began before the circuit opened, a success does not close it."""
        if is_probe:
            self._is_probing = False
        if outcome == "success":
            if is_probe or not self._opened:
                self.failures = self._failed_checks = self._opened = 0
        elif outcome == "failure":
            self._fail(now, reopens=is_probe)

    def checked(self, outcome: Outcome, now: float) -> None:
        """A health check is over."""
        if outcome == "failure":
            self._failed_checks += 1
            self._fail(now, reopens=self.state(now) == "half_open" and not self._is_probing)
        elif outcome == "success" and self._failed_checks:
            self.failures -= self._failed_checks
            self._failed_checks = 0
            self._until = min(self._until, now)

    def _fail(self, now: float, *, reopens: bool) -> None:
        self.failures += 1
        self._failed_at = now
        if reopens or (not self._opened and self.failures >= FAILURES):
            self._opened += 1
            self._until = now + min(WINDOW_SECS * self._opened, MAX_WINDOW_SECS)
