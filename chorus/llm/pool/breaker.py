"""When a replica is quarantined, and when it is tried again (D1). Pure: `now` comes from the
caller, in seconds.

A replica that failed `FAILURES` requests in a row is quarantined, for 30 s the first time, 60 s the
second, up to 300 s. When that is over it is half-open: exactly one call may try it, however many
wait; what comes of that one closes the circuit or opens it again for longer. A call that its client
cancelled counts neither way, nor does one that the upstream put off (429, 503).

A request may be why it fails: one that crashes a model fails wherever and however often it is
tried, while all others are answered. So the attempts of one request at one replica count once, and
a row of failures opens the circuit only where something proves that the replica is to blame (no
connection came about, another replica answered the same request, a health check failed), or where
it has lasted for `SPREAD_SECS`: in the meantime others would have been answered. A success ends the
row, and closes the circuit too where the call began after it was opened: calls go to a replica in
quarantine where there is no other.

A health check (D4) counts like a call where it fails. Where it succeeds it never closes a circuit,
since a server may list its models and fail at everything else; but where checks had failed and one
succeeds, the server has come back, and a call may try it at once. So checks take no part in
"exactly one call may try it".
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from chorus.errors import (
    ContentFiltered,
    LLMError,
    UpstreamConnect,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.base import ConnectionClosed

FAILURES: Final = 3
"""Requests that failed in a row which open the circuit."""
SPREAD_SECS: Final = 10.0
"""Seconds that such a row has to last where every one of these requests may itself be why it
failed.
"""
AILING_SECS: Final = 2.0
"""For so long, times the failures in a row, others are preferred to a replica that is not
quarantined yet.
"""
WINDOW_SECS: Final = 30.0
MAX_WINDOW_SECS: Final = 300.0

State = Literal["closed", "open", "half_open"]
Outcome = Literal["success", "failure", "neutral"]


def outcome_of(error: LLMError) -> Outcome:
    """Return what an error says of the replica's health.

    4xx counts as success (the replica works), 429 and 503 as neutral, everything else as failure.
    """
    if isinstance(error, UpstreamRateLimited):
        return "neutral"
    if isinstance(error, UpstreamRefused | ContentFiltered):
        return "success"
    if isinstance(error, UpstreamStatus):
        if error.upstream_status == 503:
            return "neutral"
        return "success" if error.upstream_status < 500 else "failure"
    return "failure"


def is_proof(error: LLMError) -> bool:
    """Return whether a failure is the replica's, whatever the request was: the request was never
    sent.
    """
    return isinstance(error, UpstreamConnect) and not isinstance(error, ConnectionClosed)


class Ticket(NamedTuple):
    """What a call that goes through shows again when it is over."""

    is_probe: bool
    openings: int
    """How often the circuit had been opened before it began."""


class Breaker:
    """The circuit of one replica."""

    def __init__(self) -> None:
        self.failures = 0
        """Requests that failed in a row."""
        self._began_failing_at = 0.0
        self._is_proven = False
        """Whether something in the row proves that the replica is to blame."""
        self._failed_checks = 0
        """How many of them were checks; one that succeeds takes back those, and not the calls."""
        self._failed_at = 0.0
        self._opened = 0
        """How often in a row it was opened."""
        self.openings = 0
        """How often it was opened in all."""
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
        """Return the number of recent failures in a row.

        Older ones are forgotten after a few seconds.
        """
        return self.failures if now - self._failed_at < AILING_SECS * self.failures else 0

    def admits(self, now: float) -> bool:
        """Return whether a call may go through now. `begin` must follow at once where one does."""
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self._is_probing)

    def begin(self, now: float) -> Ticket:
        """A call goes through, whether it is admitted or there is no other replica."""
        is_probe = self.state(now) == "half_open" and not self._is_probing
        self._is_probing = self._is_probing or is_probe
        return Ticket(is_probe, self.openings)

    def end(self, outcome: Outcome, now: float, ticket: Ticket, *, again: bool = False, proven: bool = False) -> None:
        """A call is over.

        A success of one that began before the circuit was opened does not close it.

        `again` says that the same request has failed at this replica before; `proven`, that the
        request cannot be why it failed.
        """
        if ticket.is_probe:
            self._is_probing = False
        if outcome == "success":
            if ticket.is_probe or not self._opened or ticket.openings == self.openings:
                self._close()
        elif outcome == "failure":
            self._fail(now, counts=proven or not again, proven=proven, reopens=ticket.is_probe)

    def blame(self, now: float) -> None:
        """A request that failed here was answered by another replica."""
        if self.failures:
            self._is_proven = True
            self._open_when_due(now)

    def checked(self, outcome: Outcome, now: float) -> None:
        """A health check is over."""
        if outcome == "failure":
            self._failed_checks += 1
            reopens = self.state(now) == "half_open" and not self._is_probing
            self._fail(now, counts=True, proven=True, reopens=reopens)
        elif outcome == "success" and self._failed_checks:
            self.failures -= self._failed_checks
            self._failed_checks = 0
            self._until = min(self._until, now)

    def _close(self) -> None:
        self.failures = self._failed_checks = self._opened = 0

    def _fail(self, now: float, *, counts: bool, proven: bool, reopens: bool) -> None:
        if self.failures == 0:
            self._began_failing_at = now
            self._is_proven = False
        self.failures += counts
        self._failed_at = now
        self._is_proven = self._is_proven or proven
        if reopens and self._opened:
            self._open(now)
        else:
            self._open_when_due(now)

    def _open_when_due(self, now: float) -> None:
        """Open the circuit, where it is closed and the row of failures is long enough."""
        lasts = self._failed_at - self._began_failing_at >= SPREAD_SECS
        if not self._opened and self.failures >= FAILURES and (self._is_proven or lasts):
            self._open(now)

    def _open(self, now: float) -> None:
        self._opened += 1
        self.openings += 1
        self._until = now + min(WINDOW_SECS * self._opened, MAX_WINDOW_SECS)
