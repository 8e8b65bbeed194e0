"""The arithmetic of rate limits (K1): the generic cell rate algorithm. Pure: times come from the caller, in seconds.

An account keeps one number, how far it is *behind*: the seconds until everything charged to it is paid off, at the account's
rate. A charge fits while that is at most the rate's period, so an account that has rested lets a whole period's amount through at
once, and then one more each time one is paid off (ITU-T I.371; redis-cell and throttled do the same). One number an account, no
windows whose edges let through twice as much, and giving back is subtracting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from chorus.rate import Rate

Kind = Literal["requests", "tokens"]
Scope = Literal["server", "key", "route", "model"]

SLACK_SECS: Final = 1e-5
"""What floating point may be off by: clocks count from 1970."""


@dataclass(frozen=True, slots=True)
class Charge:
    """`cost` is to be put on `account`, which may take as much as `rate`. `whose` says in words whose limit it is."""

    account: str
    scope: Scope
    whose: str
    kind: Kind
    rate: Rate
    cost: int

    def __str__(self) -> str:
        """The limit in words."""
        what = "model calls" if self.kind == "requests" else "tokens"
        return f"The limit of {self.whose} is reached: {self.rate.amount} {what} per {self.rate.unit}."

    def wait(self, behind: float) -> float:
        """Seconds until it fits on an account that is `behind`; 0 or less when it does.

        One that is larger than all that fits is let in when nothing else is on the account, and is paid off afterwards: a
        workflow of forty calls works under a limit of twenty, at half the pace, instead of never.
        """
        return behind + (min(self.cost, self.rate.amount) - self.rate.amount) * self.rate.each - SLACK_SECS

    def left(self, behind: float) -> int:
        """How much more would fit."""
        return max(int((self.rate.per - behind + SLACK_SECS) / self.rate.each), 0)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of the tightest limit of one kind; `reset_secs` is when all of it is there again."""

    limit: int
    remaining: int
    reset_secs: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with the limits; None where there is none of the kind."""

    requests: Left | None = None
    tokens: Left | None = None


def standing(charges: Sequence[Charge], behind: Sequence[float]) -> Standing:
    """Where accounts that are so far behind leave their caller."""
    tightest: dict[Kind, tuple[float, Left]] = {}
    for charge, secs in zip(charges, behind, strict=True):
        remaining = charge.left(secs)
        share = remaining / charge.rate.amount
        if charge.kind not in tightest or share < tightest[charge.kind][0]:
            tightest[charge.kind] = share, Left(charge.rate.amount, remaining, max(secs, 0.0))
    return Standing(**{kind: left for kind, (_, left) in tightest.items()})


def refusal(charges: Sequence[Charge], behind: Sequence[float]) -> tuple[Charge, float] | None:
    """The charge that has to wait longest for its account, and for how many seconds; None when all fit."""
    waits = [charge.wait(secs) for charge, secs in zip(charges, behind, strict=True)]
    longest = max(waits, default=0.0)
    return (charges[waits.index(longest)], longest) if longest > 0 else None
