"""Admission asks for the budget of a key that has one, before it charges or takes a slot (M6)."""

from __future__ import annotations

import pytest

from chorus.admission.admission import Admission
from chorus.admission.gate import Gate
from chorus.admission.limiter import MemoryLimiter
from chorus.admission.limits import Limit, Limits
from chorus.auth.budget import KeyBudget
from chorus.auth.keys import Key
from chorus.auth.principal import Principal
from chorus.errors import BudgetExhausted
from chorus.rate import rate

pytestmark = pytest.mark.requirement("M6")
NO_LIMITS = Limits()
ONE_REQUEST = Limits(Limit((rate("1/day"),)))
FREE, BOUNDED = Key("free", "", ""), Key("bounded", "", "", budget=KeyBudget(1, "day"))


class Checks:
    """Budgets that are spent when the test says so."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.are_spent = False

    async def __call__(self, key: Key) -> None:
        self.keys.append(key.id)
        if self.are_spent:
            raise BudgetExhausted("It is spent.", renews_in_secs=60)


async def admitted(admission: Admission, limits: Limits, key: Key | None) -> bool:
    """Whether a request of `key` holds a charge while it is admitted."""
    caller = Principal("/v1/chat/completions", key) if key is not None else None
    async with admission.admit(caller, limits, "glm", {"glm": 1}, lambda: 1, "default") as block:
        await block.wait()
        if block.bill is not None:
            block.bill.used("glm", 1)
        return block.bill is not None


@pytest.mark.parametrize("limits", [NO_LIMITS, ONE_REQUEST])
async def test_only_a_key_with_a_budget_is_checked(limits: Limits) -> None:
    checks = Checks()
    for key, names in ((None, []), (FREE, []), (BOUNDED, ["bounded"])):
        admission = Admission(MemoryLimiter(), None, lambda scope, kind: None, checks)
        assert await admitted(admission, limits, key) == (limits is ONE_REQUEST and key is not None)
        assert checks.keys == names


async def test_a_spent_budget_costs_neither_a_charge_nor_a_slot() -> None:
    checks = Checks()
    gate = Gate("busy", 1, max_waiting=0)
    admission = Admission(MemoryLimiter(), gate, lambda scope, kind: None, checks)
    checks.are_spent = True
    for _ in range(3):
        with pytest.raises(BudgetExhausted):
            await admitted(admission, ONE_REQUEST, BOUNDED)
    assert gate.active == 0
    checks.are_spent = False
    assert await admitted(admission, ONE_REQUEST, BOUNDED)
