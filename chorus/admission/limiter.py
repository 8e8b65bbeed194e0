"""Who keeps the accounts of rate limits (K1). All charges of a request are checked, then all are put down, in one step: one that
is refused has cost nothing, anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chorus.admission.meter import Charge, Standing, refusal, standing
from chorus.clock import running_clock

_MANY: Final = 10_000
"""With so many accounts, those that owe nothing are looked for and forgotten."""


class Limiter(Protocol):
    """Keeps accounts."""

    async def take(self, charges: Sequence[Charge]) -> Decision:
        """Put every charge down, or none."""
        ...

    async def correct(self, charges: Sequence[Charge], costs: Sequence[int]) -> None:
        """Charges that were put down cost this much instead. Safe to be called while being cancelled."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of `charges`: how their caller stands now and, when they were `refused`, which one has to wait longest and
    for how many seconds. `by` keeps the accounts they are on."""

    charges: Sequence[Charge]
    by: Limiter
    standing: Standing
    refused: tuple[Charge, float] | None

    async def settle(self, costs: Sequence[int]) -> None:
        """Let each charge cost what it came to in the end: give back, or charge more."""
        if any(cost != charge.cost for cost, charge in zip(costs, self.charges, strict=True)):
            await self.by.correct(self.charges, costs)


def decision(charges: Sequence[Charge], behind: Sequence[float], by: Limiter) -> Decision:
    """What becomes of charges to accounts that are so many seconds behind."""
    refused = refusal(charges, behind)
    if refused is None:
        behind = [secs + charge.cost * charge.rate.each for secs, charge in zip(behind, charges, strict=True)]
    return Decision(charges, by, standing(charges, behind), refused)


class MemoryLimiter:
    """Accounts in this process. Nothing is awaited between looking and charging, so requests cannot get in between."""

    def __init__(self) -> None:
        self._paid_at: dict[str, float] = {}
        """When everything on an account will be paid off."""

    def __len__(self) -> int:
        return len(self._paid_at)

    async def take(self, charges: Sequence[Charge]) -> Decision:
        """See `Limiter.take`."""
        now = running_clock()()
        behind = [max(self._paid_at.get(charge.account, 0.0) - now, 0.0) for charge in charges]
        found = decision(charges, behind, self)
        if found.refused is None:
            for charge, secs in zip(charges, behind, strict=True):
                self._paid_at[charge.account] = now + secs + charge.cost * charge.rate.each
            if len(self._paid_at) > _MANY:
                self._paid_at = {account: at for account, at in self._paid_at.items() if at > now}
        return found

    async def correct(self, charges: Sequence[Charge], costs: Sequence[int]) -> None:
        """See `Limiter.correct`."""
        now = running_clock()()
        for charge, cost in zip(charges, costs, strict=True):
            more = (cost - charge.cost) * charge.rate.each
            self._paid_at[charge.account] = max(self._paid_at.get(charge.account, 0.0), now) + more

    async def aclose(self) -> None:
        """See `Limiter.aclose`."""
