"""What admission takes it gives back: slots and charges, however the block is left (K1, K2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus.admission.admission import Admitted
from chorus.admission.gate import Gate
from chorus.admission.limits import Bill
from chorus.errors import ChorusError, QueueFull, RateLimited

STEPS = 3
"""How often a charge, and a settlement, give way to other tasks: a caller can be cancelled at
each.
"""


class Account:
    """Charges and settlements that take their time, as those in Redis do: one that has begun is
    carried out.
    """

    def __init__(self) -> None:
        self.charged = self.settled = 0

    async def charge(self) -> Bill:
        with anyio.CancelScope(shield=True):
            for _ in range(STEPS):
                await anyio.lowlevel.checkpoint()
            self.charged += 1
        return cast(Bill, self)

    async def refuse(self) -> Bill:
        await anyio.lowlevel.checkpoint()
        raise RateLimited("enough", retry_after=1)

    async def settle(self) -> None:
        with anyio.CancelScope(shield=True):
            for _ in range(STEPS):
                await anyio.lowlevel.checkpoint()
            self.settled += 1


CALLERS = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 4)), min_size=1, max_size=8)
"""Whether the limiter refuses the caller, after how many steps it leaves, and how many it works."""


@pytest.mark.slow
@pytest.mark.requirement("K2")
@settings(max_examples=150, deadline=None)
@given(callers=CALLERS, slots=st.integers(1, 2), room=st.integers(0, 3))
def test_slots_and_charges_come_back_wherever_a_caller_leaves(
    callers: list[tuple[bool, int, int]], slots: int, room: int
) -> None:
    account, most = Account(), 0
    gate = Gate("busy", slots, max_waiting=room)
    seen: list[type[ChorusError]] = []

    async def call(charge: Callable[[], Awaitable[Bill]], work: int) -> None:
        nonlocal most
        try:
            async with Admitted(charge, gate.slot("default")) as admitted:
                await admitted.wait()
                most = max(most, gate.active)
                for _ in range(work):
                    await anyio.lowlevel.checkpoint()
        except (RateLimited, QueueFull) as error:
            seen.append(type(error))

    async def leaving(is_refused: bool, steps: int, work: int) -> None:
        charge = account.refuse if is_refused else account.charge
        async with anyio.create_task_group() as group:
            group.start_soon(call, charge, work)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    async def everybody() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for caller in callers:
                    group.start_soon(leaving, *caller)

    anyio.run(everybody)
    assert gate.active == 0
    assert gate.waiting == 0
    assert most <= slots
    assert account.settled == account.charged
