"""Slots and the line before them: order, bounds, leaving, and no slot ever lost (K2)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chorus.admission.gate import Gate
from chorus.admission.queue import AGING_SECS, Ticket, WaitingLine
from chorus.errors import QueueFull, QueueTimeout
from chorus.types import Priority
from tests.workflow.running import on_trio

pytestmark = pytest.mark.requirement("K2")
PRIORITIES: list[Priority] = ["interactive", "default", "batch"]
priorities = st.sampled_from(PRIORITIES)


class Line(RuleBasedStateMachine):
    """Anybody joins, leaves and is served, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.line = WaitingLine()
        self.now = 0.0
        self.there: dict[Ticket, Priority] = {}

    @rule(secs=st.floats(0, 40))
    def wait(self, secs: float) -> None:
        self.now += secs

    @rule(priority=priorities)
    def join(self, priority: Priority) -> None:
        self.there[self.line.join(priority, self.now)] = priority

    @precondition(lambda self: self.there)
    @rule(place=st.integers(0, 100))
    def leave(self, place: int) -> None:
        ticket = list(self.there)[place % len(self.there)]
        self.line.leave(ticket)
        self.line.leave(ticket)
        del self.there[ticket]

    @rule()
    def serve(self) -> None:
        served = self.line.next()
        if not self.there:
            assert served is None
            return
        assert served is not None
        mine = self.there.pop(served)
        for other, priority in self.there.items():
            ahead = PRIORITIES.index(mine) - PRIORITIES.index(priority)
            # nobody of the same or a higher priority came earlier; one of a lower one only so much
            assert served.arrived <= other.arrived - ahead * AGING_SECS + 1e-9

    @invariant()
    def counts(self) -> None:
        assert len(self.line) == len(self.there)
        assert len(self.line._heap) <= 2 * len(self.there) + 1


TestLine = Line.TestCase


@on_trio
async def test_by_priority_then_by_arrival_and_nobody_starves() -> None:
    gate, order = Gate("m", 1), []

    async def enter(name: str, priority: Priority, secs: float) -> None:
        async with gate.slot(priority):
            order.append(name)
            await anyio.sleep(secs)

    async with anyio.create_task_group() as group:
        for name, priority in (("first", "batch"), ("b1", "batch"), ("d1", "default"), ("i1", "interactive")):
            group.start_soon(enter, name, priority, 10)
            await anyio.sleep(0.1)
        for number in range(10):  # a stream of interactive ones
            group.start_soon(enter, f"i{number + 2}", "interactive", 10)
            await anyio.sleep(9)
    assert order[:2] == ["first", "i1"]
    assert order.index("d1") < order.index("b1") < len(order) - 3
    assert (gate.active, gate.waiting) == (0, 0)


@on_trio
async def test_who_is_too_many_is_told_at_once_and_who_waits_too_long_then() -> None:
    waits: list[float] = []
    gate = Gate("m", 1, max_waiting=1, max_wait_secs=5, waited=waits.append)

    async def hold() -> None:
        async with gate.slot("default"):
            await anyio.sleep(100)

    async def wait() -> None:
        with pytest.raises(QueueTimeout):
            async with gate.slot("default"):
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        await anyio.sleep(1)
        group.start_soon(wait)
        await anyio.sleep(1)
        with pytest.raises(QueueFull) as full:
            async with gate.slot("interactive"):
                pass
        assert full.value.retry_after
        await anyio.sleep(10)
        assert (gate.active, gate.waiting) == (1, 0)
    assert (gate.active, waits) == (0, [0.0])


@on_trio
async def test_a_slot_that_is_not_free_yet_is_taken_later_and_given_back_once() -> None:
    gate = Gate("m", 1, max_waiting=1)
    first, second, third = gate.slot("default"), gate.slot("default"), gate.slot("default")
    assert first.take_now()
    assert not second.take_now()
    async with anyio.create_task_group() as group:
        group.start_soon(second.take)
        await anyio.sleep(1)
        with pytest.raises(QueueFull):
            third.take_now()
        first.release()
        first.release()
    await second.take()
    assert (first.is_held, second.is_held, third.is_held, gate.active) == (False, True, False, 1)
    second.release()
    assert gate.active == 0


@given(
    st.lists(
        st.tuples(priorities, st.floats(0, 3), st.one_of(st.none(), st.floats(0, 3)), st.floats(0, 2)),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 3),
)
def test_no_slot_is_lost_or_given_twice(callers: list[tuple[Any, ...]], slots: int) -> None:
    """Callers come, stay, and leave while they wait or in the very moment in which they are let
    in.
    """

    @on_trio
    async def test() -> None:
        gate, inside, most = Gate("m", slots), 0, 0

        async def call(priority: Priority, at: float, leaves_after: float | None, stays: float) -> None:
            nonlocal inside, most
            await anyio.sleep(at)
            with anyio.move_on_after(leaves_after):
                async with gate.slot(priority):
                    inside += 1
                    most = max(most, inside)
                    try:
                        await anyio.sleep(stays)
                    finally:
                        inside -= 1

        async with anyio.create_task_group() as group:
            for caller in callers:
                group.start_soon(call, *caller)
        assert (gate.active, gate.waiting, inside) == (0, 0, 0)
        assert most <= slots
        async with gate.slot("batch"):
            assert gate.active == 1

    test()
