"""The arithmetic of rate limits (K1): the generic cell rate algorithm.

Pure: times come from the caller, in seconds.

An account keeps one number, how far it is *behind*: the seconds until everything charged to it is
paid off, at the account's rate. A charge fits while that is at most the rate's period, so an
account that has rested lets a whole period's amount through at once, and then one more each time
one is paid off (ITU-T I.371; redis-cell and throttled do the same). One number an account, no
windows whose edges let through twice as much, and giving back is subtracting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from chorus.auth.principal import Left, Standing
from chorus.rate import Rate

Kind = Literal["requests", "tokens"]
Scope = Literal["server", "key", "route", "model"]

SLACK_SECS: Final = 1e-5
"""What floating point may be off by: clocks count from 1970."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is charged to `name` may come to as much as `rate`.

    `whose` says in words whose limit it is, `model` whose calls are charged where not all are.
    """

    name: str
    scope: Scope
    whose: str
    kind: Kind
    rate: Rate
    model: str | None = None

    def __str__(self) -> str:
        """Return the limit in words."""
        what = "model calls" if self.kind == "requests" else "tokens"
        return f"The limit of {self.whose} is reached: {self.rate.amount} {what} per {self.rate.unit}."

    def wait(self, behind: float, cost: int) -> float:
        """Seconds until `cost` fits on it while it is `behind`; 0 or less when it does.

        One that is larger than all that fits is let in when nothing else is on the account, and is
        paid off afterwards: a workflow of forty calls works under a limit of twenty, at half the
        pace, instead of never.
        """
        amount = self.rate.amount
        return behind + (min(cost, amount) - amount) * self.rate.each - SLACK_SECS

    def left(self, behind: float) -> int:
        """Return how much more would fit."""
        return max(int((self.rate.per - behind + SLACK_SECS) / self.rate.each), 0)


def standing(accounts: Sequence[Account], behind: Sequence[float]) -> Standing:
    """Return where accounts that are so far behind leave their caller."""
    tightest: dict[Kind, tuple[float, Left]] = {}
    for account, secs in zip(accounts, behind, strict=True):
        remaining = account.left(secs)
        share = remaining / account.rate.amount
        known = tightest.get(account.kind)
        if known is None or share < known[0]:
            tightest[account.kind] = share, Left(account.rate.amount, remaining, secs)
    requests, tokens = tightest.get("requests"), tightest.get("tokens")
    return Standing(requests[1] if requests else None, tokens[1] if tokens else None)


def refusal(accounts: Sequence[Account], costs: Sequence[int], behind: Sequence[float]) -> tuple[Account, float] | None:
    """Return the account on which its cost has to wait longest, and for how many seconds.

    None when all fit.
    """
    longest = None
    for account, cost, secs in zip(accounts, costs, behind, strict=True):
        wait = account.wait(secs, cost)
        if wait > 0 and (longest is None or wait > longest[1]):
            longest = account, wait
    return longest
