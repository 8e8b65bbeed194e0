"""Slots that processes share as leases in a real Redis (K2): bounded in all, given back, renewed,
and left by a holder that is killed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from redis import Redis

from chorus.admission import redis_leases
from chorus.admission.gate import Gate
from chorus.admission.redis_leases import NO_LEASE, RedisLeases
from chorus.admission.shared_gate import make_gate
from chorus.errors import QueueFull, QueueTimeout
from chorus.tasks import ServerTasks
from tests.kit.programs import RedisServer

pytestmark = pytest.mark.requirement("K2")


@dataclass
class Settings:
    max_concurrency: int | None = 2
    max_waiting: int = 1000
    max_wait_secs: float | None = None


@dataclass
class Process:
    """One process with its leases."""

    leases: RedisLeases
    waits: list[float] = field(default_factory=list)

    def gate(self, **settings: Any) -> Gate:
        gate = make_gate("busy", Settings(**settings), self.leases, "server", self.waits.append)
        assert gate is not None
        return gate


@asynccontextmanager
async def process(url: str, **settings: Any) -> AsyncIterator[Process]:
    tasks = ServerTasks()
    async with tasks.open():
        leases = RedisLeases(url, tasks, **settings)
        yield Process(leases)
        with anyio.CancelScope(shield=True):
            await leases.aclose()


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(running: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    monkeypatch.setattr(redis_leases, "ANSWER_SECS", 20.0)  # on a busy machine it is not away
    with Redis(port=running.port) as client:
        client.flushall()
    return running


async def test_two_processes_have_the_slots_of_one(redis: RedisServer) -> None:
    active, most = 0, 0

    async def call(gate: Gate) -> None:
        nonlocal active, most
        async with gate.slot("default"):
            active += 1
            most = max(most, active)
            await anyio.sleep(0.002)
            active -= 1

    async with process(redis.url) as one, process(redis.url) as other, anyio.create_task_group() as group:
        gates = one.gate(), other.gate()
        for number in range(40):
            group.start_soon(call, gates[number % 2])
    assert (most, active) == (2, 0)
    assert len(one.waits) == len(other.waits) == 20
    assert all(gate.active == gate.waiting == 0 for gate in gates)


async def test_a_slot_that_is_given_back_goes_to_the_other_process(redis: RedisServer) -> None:
    async with process(redis.url) as one, process(redis.url) as other:
        first, second = one.gate(max_concurrency=1), other.gate(max_concurrency=1)
        entered = anyio.Event()

        async def wait() -> None:
            async with second.slot("default"):
                entered.set()

        async with anyio.create_task_group() as group:
            async with first.slot("default"):
                group.start_soon(wait)
                while second.waiting == 0:  # noqa: ASYNC110 - it has no event
                    await anyio.sleep(0.001)
                assert not entered.is_set()
            with anyio.fail_after(2):
                await entered.wait()


async def test_a_wait_for_a_lease_is_bounded(redis: RedisServer) -> None:
    async with process(redis.url) as one, process(redis.url) as other:
        gate = other.gate(max_concurrency=1, max_wait_secs=0.1, max_waiting=1)
        async with one.gate(max_concurrency=1).slot("default"):
            began = anyio.current_time()
            with pytest.raises(QueueTimeout):
                await gate.slot("default").take()
            assert 0.1 <= anyio.current_time() - began < 1
            assert gate.active == 0
            async with anyio.create_task_group() as group:
                slots = [gate.slot("default") for _ in range(2)]
                group.start_soon(slots[0].take)
                group.start_soon(slots[1].take)
                while gate.waiting < 2:  # noqa: ASYNC110 - it has no event
                    await anyio.sleep(0.001)
                with pytest.raises(QueueFull):
                    gate.slot("default").take_now()
                group.cancel_scope.cancel()
        assert (gate.active, gate.waiting) == (0, 0)


async def test_a_request_that_leaves_before_its_lease_holds_nothing(redis: RedisServer) -> None:
    async with process(redis.url) as one:
        gate = one.gate()
        slot = gate.slot("default")
        assert not slot.take_now()
        assert gate.active == 1
        slot.release()
        slot.release()
        assert gate.active == 0


async def test_a_lease_is_renewed_while_it_is_held_and_gone_when_it_is_not(redis: RedisServer) -> None:
    async with process(redis.url, lease_secs=0.4) as one, process(redis.url, lease_secs=0.4) as other:
        async with one.gate(max_concurrency=1).slot("default"):
            await anyio.sleep(1)
            assert await other.leases.take("server", 1) is None
        with anyio.fail_after(1):
            while await other.leases.take("server", 1) is None:
                pass


def _hold(url: str, ready: Any) -> None:
    async def hold() -> None:
        async with process(url, lease_secs=1.0) as one, one.gate(max_concurrency=1).slot("default"):
            ready.set()
            await anyio.sleep(60)

    anyio.run(hold)


@pytest.mark.slow
async def test_the_lease_of_a_killed_process_ends_by_itself(redis: RedisServer) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(redis.url, ready))
    holder.start()
    try:
        assert await anyio.to_thread.run_sync(ready.wait, 30)
        async with process(redis.url, lease_secs=1.0) as other:
            await anyio.sleep(1.2)  # it is renewed
            assert await other.leases.take("server", 1) is None
            holder.kill()
            killed = time.monotonic()
            async with other.gate(max_concurrency=1, max_wait_secs=10).slot("default"):
                assert 0.2 < time.monotonic() - killed < 2
    finally:
        holder.kill()
        holder.join()


async def test_without_redis_each_process_has_its_own_slots() -> None:
    with RedisServer() as server:
        async with process(server.url) as one, process(server.url) as other:
            held = one.gate(max_concurrency=1).slot("default")
            await held.take()
            server.stop()
            gate = other.gate(max_concurrency=1, max_wait_secs=0.05)
            async with gate.slot("default"):
                with pytest.raises(QueueTimeout):
                    await gate.slot("default").take()
            assert await other.leases.take("server", 1) == NO_LEASE
            held.release()
