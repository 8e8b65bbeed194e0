"""Replicas that come and go while calls run (D1, D3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import anyio
import pytest

from chorus.errors import ConfigError, Problem, UpstreamConnect, UpstreamProtocol
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.fake import Fails, FakeUpstream, Hangs, Says
from chorus.llm.pool.breaker import FAILURES
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.types import ChatRequest, Message
from tests.workflow.running import on_trio

pytestmark = pytest.mark.requirement("D1")
QUESTION = ChatRequest("m", (Message("user", "How?"),))
AWAY = Fails(UpstreamConnect("away"))


class Upstreams:
    """Upstreams by the address that leads to them; "refused" is none. Those not given say their
    address."""

    def __init__(self, **upstreams: FakeUpstream) -> None:
        self.by_address = upstreams

    def connect(self, at: ReplicaAddress) -> Replica:
        if at.api_base == "refused":
            raise ConfigError([Problem("api_base", "no such address")])
        upstream = self.by_address.setdefault(at.api_base, FakeUpstream(Says(at.api_base)))
        return Replica(f"m@{at.api_base}", upstream)

    def pool(self, *names: str, **options: Any) -> Pool:
        return Pool("m", self.connect, at(*names), rng=Random(7), **options)


def at(*names: str) -> list[ReplicaAddress]:
    return [ReplicaAddress(name) for name in names]


def ids(replicas: Sequence[Replica]) -> list[str]:
    return [replica.instance_id for replica in replicas]


async def ask(pool: Pool, **call: Any) -> str:
    async with pool.open(Call(QUESTION, **call)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


@on_trio
async def test_a_replica_that_stays_keeps_what_is_known_of_it_and_gets_its_new_weight() -> None:
    pool = Upstreams(a=FakeUpstream(AWAY), b=FakeUpstream(Says("b", before=1))).pool("a", "b", balance="round_robin")
    for _ in range(20):
        assert await ask(pool) == "b"
    quarantined, well = pool.replicas
    pool.update([ReplicaAddress("c"), ReplicaAddress("b", weight=3), ReplicaAddress("a")])
    assert ids(pool.replicas) == ["m@c", "m@b", "m@a"]
    assert pool.replicas[1:] == (well, quarantined)
    assert (well.weight, well.calls) == (3, 20)
    assert quarantined.calls == FAILURES
    assert quarantined.breaker.state(anyio.current_time()) == "open"
    assert {await ask(pool) for _ in range(6)} == {"b", "c"}


@on_trio
async def test_calls_at_a_replica_that_is_gone_end_there() -> None:
    pool = Upstreams(old=FakeUpstream(Says("from the old one", before=5, between=1))).pool("old")
    gone, answers = pool.replicas[0], []

    async def begin(**call: Any) -> None:
        answers.append(await ask(pool, **call))

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        await anyio.sleep(1)
        assert gone.in_flight == 1
        pool.update(at("new"))
        assert await ask(pool) == "new"
    assert answers == ["from the old one"]
    assert (gone.in_flight, gone.errors) == (0, 0)


@on_trio
async def test_a_call_in_flight_is_still_counted_where_its_replica_stays() -> None:
    pool = Upstreams(busy=FakeUpstream(Hangs())).pool("busy", "idle")
    pool.update(at("busy"))
    async with anyio.create_task_group() as group:
        group.start_soon(ask, pool)
        await anyio.sleep(1)
        pool.update(at("busy", "idle", "new"))
        assert [replica.in_flight for replica in pool.replicas] == [1, 0, 0]
        assert {await ask(pool) for _ in range(8)} == {"idle", "new"}
        group.cancel_scope.cancel()
    assert pool.replicas[0].in_flight == 0


@pytest.mark.requirement("D3")
@on_trio
async def test_a_session_moves_on_when_its_replica_is_gone_and_stays_where_it_is_not() -> None:
    pool = Upstreams(a=FakeUpstream(Says("a", before=5))).pool("a")
    pool.update(at("a", "b"))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(pool, session="leaving"))
        await anyio.sleep(1)
        assert await ask(pool, session="staying") == "b"
        pool.update(at("b", "c", "d"))
    for _ in range(3):
        assert await ask(pool, session="staying") == "b"
    moved = await ask(pool, session="leaving")
    assert moved in ("b", "c", "d")
    assert {await ask(pool, session="leaving") for _ in range(6)} == {moved}


@pytest.mark.requirement("L4")
@on_trio
async def test_a_retry_goes_to_a_replica_that_has_come_in_the_meantime() -> None:
    slow_to_fail = Fails(UpstreamProtocol("torn"), before=5)
    pool = Upstreams(bad=FakeUpstream(slow_to_fail)).pool("bad")
    async with anyio.create_task_group() as group:
        answers: list[str] = []

        async def begin() -> None:
            answers.append(await ask(pool))

        group.start_soon(begin)
        await anyio.sleep(1)
        pool.update(at("good"))
    assert answers == ["good"]


@on_trio
async def test_the_order_of_the_list_changes_no_turns() -> None:
    pool = Upstreams().pool("a", "b", "c", balance="round_robin")
    names, answers = ["a", "b", "c"], Counter[str]()
    for _ in range(30):
        answers[await ask(pool)] += 1
        names = [*names[1:], names[0]]
        pool.update(at(*names))
    assert answers == {"a": 10, "b": 10, "c": 10}
    pool = Upstreams().pool("a", "b", balance="weighted")
    answers.clear()
    for number in range(40):
        weighted = [ReplicaAddress("a", weight=3), ReplicaAddress("b", weight=1)]
        pool.update(weighted[::-1] if number % 2 else weighted)
        answers[await ask(pool)] += 1
    assert answers == {"a": 30, "b": 10}


@on_trio
async def test_two_keys_at_one_address_are_two_replicas_and_a_new_key_is_a_new_one() -> None:
    pool = Pool("m", Upstreams().connect, [ReplicaAddress("a", "key 1"), ReplicaAddress("a", "key 2")])
    first, second = pool.replicas
    assert first is not second
    pool.update([ReplicaAddress("a", "key 2"), ReplicaAddress("a", "key 3")])
    assert pool.replicas[0] is second
    assert pool.replicas[1] not in (first, second)


@on_trio
async def test_an_address_that_is_refused_changes_nothing() -> None:
    pool = Upstreams().pool("a", "b")
    before = pool.replicas
    with pytest.raises(ConfigError):
        pool.update([ReplicaAddress("b", weight=5), *at("refused")])
    assert pool.replicas == before
    assert [replica.weight for replica in before] == [1, 1]
    assert {await ask(pool) for _ in range(2)} == {"a", "b"}
