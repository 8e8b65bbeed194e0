"""A store that hangs: after the first timeouts nobody waits for it, and one operation tries it."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from chorus.errors import NotFound, StorageUnavailable
from chorus.storage import guard
from chorus.storage.guard import Circuit, guarded
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY

pytestmark = pytest.mark.requirement("M2")


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Hanging:
    """A kind of record that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = anyio.Event()
        self.problem: Exception | None = None

    async def get(self, owner: str, id: str) -> bytes | None:
        self.asked += 1
        await self.may_answer.wait()
        if self.problem is not None:
            raise self.problem
        return b"1"

    async def put(self, owner: str, id: str, value: bytes) -> None:
        await self.get(owner, id)


def tries(circuit: Circuit) -> bool:
    try:
        circuit.begin()
    except StorageUnavailable:
        return False
    return True


def test_a_slow_failure_lets_the_next_ones_fail_at_once_and_one_try_each_interval() -> None:
    clock = Clock()
    circuit = Circuit("reads", clock)
    began = circuit.begin()
    clock.now += guard.SLOW_SECS
    circuit.fail(began)
    assert not tries(circuit)
    clock.now += guard.PROBE_SECS
    assert [tries(circuit) for _ in range(3)] == [True, False, False]
    circuit.fail(clock.now)  # a fast one keeps it open
    assert not tries(circuit)
    clock.now += guard.PROBE_SECS
    assert tries(circuit)
    circuit.succeed()
    assert [tries(circuit) for _ in range(3)] == [True] * 3


def test_a_failure_that_costs_no_time_opens_nothing() -> None:
    clock = Clock()
    circuit = Circuit("reads", clock)
    for _ in range(10):
        circuit.fail(circuit.begin())
    assert tries(circuit)


async def test_a_store_that_hangs_is_asked_by_one_at_a_time_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "READ_SECS", 0.05)
    monkeypatch.setattr(guard, "SLOW_SECS", 0.04)
    monkeypatch.setattr(guard, "PROBE_SECS", 0.05)
    hanging = Hanging()
    async with memory_storage(IN_MEMORY) as storage:
        storage.responses = hanging  # type: ignore[assignment]
        guarded(storage)
        for _ in range(20):
            with pytest.raises(StorageUnavailable) as raised:
                await storage.responses.get("ann", "1")
            assert raised.value.kind == "responses"
            assert raised.value.retry_after
        assert hanging.asked == 1, "further reads fail at once"
        with pytest.raises(StorageUnavailable):
            await storage.profiles.get("ann", "eva")
        await storage.conversations.create("ann", "conv_1")  # writes have a circuit of their own
        hanging.may_answer.set()
        await anyio.sleep(0.06)
        assert await storage.responses.get("ann", "1") == b"1"
        assert await storage.profiles.get("ann", "eva") is None


async def test_a_caller_that_leaves_early_says_nothing_and_one_that_waited_says_it_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "SLOW_SECS", 0.03)
    hanging = Hanging()
    async with memory_storage(IN_MEMORY) as storage:
        storage.responses = hanging  # type: ignore[assignment]
        guarded(storage)
        for asked, secs in ((1, 0.0), (2, 0.05), (2, 0.0)):
            with anyio.move_on_after(secs):
                with suppress(StorageUnavailable):
                    await storage.responses.get("ann", "1")
            assert hanging.asked == asked


async def test_an_answer_that_the_caller_is_wrong_is_an_answer() -> None:
    async with guarded(memory_storage(IN_MEMORY)) as storage:
        for _ in range(3):
            with pytest.raises(NotFound):
                await storage.conversations.append("ann", "conv_none", [])
