"""Who keeps the accounts of rate limits (K1).

All that a request is charged is checked, then put down, in one step: one that is refused has cost
nothing, anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from chorus.admission.meter import Account, refusal, standing
from chorus.auth.principal import Standing

_MANY: Final = 10_000
"""With so many accounts, those that owe nothing are looked for and forgotten."""


class Limiter(Protocol):
    """Keeps accounts."""

    async def take(self, accounts: Sequence[Account], costs: Sequence[int]) -> Decision:
        """Put each cost on its account, or none."""
        ...

    async def add(self, accounts: Sequence[Account], costs: Sequence[int]) -> None:
        """Put each cost on its account, whether it fits or not.

        What is below zero is given back. Safe while being cancelled.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class Decision(msgspec.Struct, frozen=True):
    """The result of charging `costs`: how the caller stands now, and which account refused, if any.

    `refused` has the account that takes longest, and its seconds. `by` keeps the accounts.
    """

    accounts: Sequence[Account]
    costs: Sequence[int]
    by: Limiter
    standing: Standing
    refused: tuple[Account, float] | None

    async def settle(self, costs: Sequence[int]) -> None:
        """Let each cost be what it came to in the end: give back, or charge more."""
        more = [cost - before for cost, before in zip(costs, self.costs, strict=True)]
        if any(more):
            await self.by.add(self.accounts, more)


def decision(
    accounts: Sequence[Account], costs: Sequence[int], behind: Sequence[float], by: Limiter
) -> tuple[Decision, Sequence[float]]:
    """Return the decision on `costs`, and how many seconds behind the accounts are then.

    `behind` has the same of before.
    """
    refused = refusal(accounts, costs, behind)
    if refused is None:
        behind = [secs + cost * account.rate.each for account, cost, secs in zip(accounts, costs, behind, strict=True)]
    return Decision(accounts, costs, by, standing(accounts, behind), refused), behind


class MemoryLimiter:
    """Accounts in this process.

    Nothing is awaited between looking and charging, so requests cannot get in between.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._paid_at: dict[str, float] = {}
        """When everything on an account will be paid off."""

    def __len__(self) -> int:
        return len(self._paid_at)

    async def take(self, accounts: Sequence[Account], costs: Sequence[int]) -> Decision:
        """See `Limiter.take`."""
        now, paid_at = self._clock(), self._paid_at
        before = [max(paid_at.get(account.name, now) - now, 0.0) for account in accounts]
        decided, behind = decision(accounts, costs, before, self)
        if decided.refused is None:
            for account, secs in zip(accounts, behind, strict=True):
                paid_at[account.name] = now + secs
            if len(paid_at) > _MANY:
                self._paid_at = {name: at for name, at in paid_at.items() if at > now}
        return decided

    async def add(self, accounts: Sequence[Account], costs: Sequence[int]) -> None:
        """See `Limiter.add`."""
        now = self._clock()
        for account, cost in zip(accounts, costs, strict=True):
            behind = max(self._paid_at.get(account.name, now) - now, 0.0)
            self._paid_at[account.name] = now + behind + cost * account.rate.each

    async def aclose(self) -> None:
        """See `Limiter.aclose`."""
