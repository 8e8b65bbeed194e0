"""Admission: charge a request to its caller's limits and hold a slot for it (K1, K2).

Above: `service`. Below: `limiter` keeps the accounts, `gate` the slots.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from chorus.admission.gate import Gate, Slot
from chorus.admission.limiter import Limiter
from chorus.admission.limits import Bill, Limits, costs_of
from chorus.auth.keys import Key
from chorus.auth.principal import Principal
from chorus.errors import RateLimited, sane_wait
from chorus.types import Priority


class Admitted:
    """A request that may go on.

    Entering the block charges it and takes a slot if one is free; leaving it gives the slot back
    and settles the charge.

    Raises:
        BudgetExhausted: on entering: the budget of its key is spent.
        RateLimited: on entering: a rate limit is reached.
        QueueFull: on entering: no slot is free, and as many requests wait as may.
    """

    __slots__ = ("_charge", "_slot", "bill", "notes")

    def __init__(
        self, charge: Callable[[], Awaitable[Bill | None]] | None, slot: Slot | None, notes: Sequence[str] = ()
    ) -> None:
        self.notes = notes
        """What happened while it was charged, in sentences."""
        self._charge = charge
        self._slot = slot
        self.bill: Bill | None = None
        """What the request is charged; None where it is free."""

    @property
    def must_wait(self) -> bool:
        """Whether the request has no slot yet: it has to `wait` before it begins."""
        return self._slot is not None and not self._slot.is_held

    async def wait(self) -> None:
        """Wait for the slot. Raises QueueFull or QueueTimeout as `Slot.take` does."""
        if self._slot is not None:
            await self._slot.take()

    async def __aenter__(self) -> Self:
        if self._charge is not None:
            self.bill = await self._charge()
        if self._slot is not None:
            try:
                self._slot.take_now()
            except BaseException:
                await self._settle()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._slot is not None:
            self._slot.release()
        await self._settle()

    async def _settle(self) -> None:
        if self.bill is not None:
            await self.bill.settle()


class Admission:
    """Admits the requests of one server.

    `gate` is None where their number is not bounded; `refused` is called with the scope and the
    kind of a limit that is reached. `check_budget` raises BudgetExhausted for a key whose budget is
    spent, and returns a sentence where it cannot know that for certain.
    """

    def __init__(
        self,
        limiter: Limiter,
        gate: Gate | None,
        refused: Callable[[str, str], None],
        check_budget: Callable[[Key], Awaitable[str | None]],
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`close` ends what the gate needs."""
        self._close = close
        self._limiter = limiter
        self._gate = gate
        self._refused = refused
        self._check_budget = check_budget

    @property
    def waiting(self) -> int | None:
        """How many requests wait for a slot; None where there are no slots."""
        return self._gate.waiting if self._gate is not None else None

    def admit(
        self,
        caller: Principal | None,
        limits: Limits,
        plan: str,
        calls: Mapping[str, int],
        most_tokens: Callable[[], int],
        priority: Priority,
    ) -> Admitted:
        """Return a block around the answer to a request to `plan`, which holds its slot.

        The plan makes so many calls of each model, each of at most `most_tokens`; its limits are
        charged. A request without a `caller` is charged nothing.
        """
        slot = self._gate.slot(priority) if self._gate is not None else None
        return self.charge(caller, limits, plan, calls, most_tokens, slot)

    def charge(
        self,
        caller: Principal | None,
        limits: Limits,
        plan: str,
        calls: Mapping[str, int],
        most_tokens: Callable[[], int],
        slot: Slot | None = None,
    ) -> Admitted:
        """Return the same, with this `slot` of the server or without one."""
        charge = None
        notes: list[str] = []
        if caller is not None and (limits.concern(caller) or _has_budget(caller)):
            charge = partial(self._charge, caller, limits, plan, calls, most_tokens, notes)
        return Admitted(charge, slot, notes)

    async def _charge(
        self,
        payer: Principal,
        limits: Limits,
        plan: str,
        calls: Mapping[str, int],
        most_tokens: Callable[[], int],
        notes: list[str],
    ) -> Bill | None:
        if (key := payer.key) is not None and key.budget is not None:
            note = await self._check_budget(key)
            if note is not None:
                notes.append(note)
        if not limits.concern(payer):
            return None
        accounts = limits.accounts(payer, plan, calls)
        tokens: Mapping[str, int] = {}
        if any(account.kind == "tokens" for account in accounts):
            most = most_tokens()
            tokens = {model: number * most for model, number in calls.items()}
        decision = await self._limiter.take(accounts, costs_of(accounts, calls, tokens))
        payer.standing = decision.standing
        if decision.refused is not None:
            account, wait = decision.refused
            self._refused(account.scope, account.kind)
            secs = max(1, math.ceil(sane_wait(wait)))
            raise RateLimited(f"{account} Try again in {secs} s.", retry_after=secs)
        return Bill(decision)

    async def aclose(self) -> None:
        """Close the connections of the limiter and of the gate."""
        await self._limiter.aclose()
        if self._close is not None:
            await self._close()


def _has_budget(caller: Principal) -> bool:
    return caller.key is not None and caller.key.budget is not None
