"""Replicas of one model: who is asked, who is left alone, what is tried again (D1, D3, L4)."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import (
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Call, ConnectionClosed
from chorus.llm.fake import Fails, FakeUpstream, Hangs, Says
from chorus.llm.pool.balance import Balancer
from chorus.llm.pool.breaker import (
    FAILURES,
    SPREAD_SECS,
    WINDOW_SECS,
)
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.llm.pool.retry import RetryBudget, pause
from chorus.types import ChatRequest, Message
from tests.workflow.running import on_trio

AWAY = Fails(UpstreamConnect("away"))
QUESTION = ChatRequest("m", (Message("user", "How?"),))


def pool_of(*upstreams: FakeUpstream, attempts: int = 3, **options: Any) -> Pool:
    def connect(at: ReplicaAddress) -> Replica:
        return Replica(f"r{at.api_base}", upstreams[int(at.api_base)])

    addresses = [ReplicaAddress(str(place)) for place in range(len(upstreams))]
    return Pool("m", connect, addresses, max_attempts=attempts, rng=Random(7), **options)


async def ask(pool: Pool, **call: Any) -> str:
    async with pool.open(Call(QUESTION, **call)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


def counts(pool: Pool) -> list[tuple[int, int, int]]:
    return [(each.calls, each.errors, each.in_flight) for each in pool.replicas]


@pytest.mark.requirement("D1")
@on_trio
async def test_a_failed_call_moves_to_a_replica_that_was_not_tried() -> None:
    broken, well = FakeUpstream(AWAY), FakeUpstream(Says("fine"))
    pool = pool_of(broken, well)
    for _ in range(4):
        assert await ask(pool) == "fine"
    assert len(broken.calls) <= 2
    assert all(each.in_flight == 0 for each in pool.replicas)


@pytest.mark.requirement("D1")
@on_trio
async def test_when_none_answers_the_caller_is_told_so_once() -> None:
    upstreams = [FakeUpstream(AWAY) for _ in range(3)]
    pool = pool_of(*upstreams)
    with pytest.raises(UpstreamUnavailable) as raised:
        await ask(pool)
    assert [len(each.calls) for each in upstreams] == [1, 1, 1]
    assert "None of 3 replicas of 'm'" in raised.value.message
    assert raised.value.retryable_by_client is False


@pytest.mark.requirement("L4")
@on_trio
async def test_the_only_replica_is_tried_again_after_a_pause_and_keeps_its_own_words() -> None:
    upstream = FakeUpstream(AWAY)
    with pytest.raises(UpstreamConnect) as raised:
        await ask(pool_of(upstream))
    assert len(upstream.calls) == 3
    assert 0 < anyio.current_time() < 1
    assert raised.value.retryable_by_client is False


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UpstreamRefused("no", upstream_status=400), 1),
        (UpstreamStatus("no", upstream_status=401), 1),
        (UpstreamStatus("no", upstream_status=408), 3),
        (UpstreamStatus("no", upstream_status=409), 3),
        (UpstreamStatus("no", upstream_status=500), 3),
        (UpstreamStatus("no", upstream_status=503), 3),
        (UpstreamRateLimited("later"), 3),
        (UpstreamRateLimited("much later", retry_after=60), 1),
        (UpstreamProtocol("what"), 3),
        (UpstreamTimeout("slow"), 3),
    ],
)
@pytest.mark.requirement("L4")
def test_what_is_tried_again(error: LLMError, attempts: int) -> None:
    @on_trio
    async def test() -> None:
        upstream = FakeUpstream(Fails(error))
        with pytest.raises(type(error)):
            await ask(pool_of(upstream))
        assert len(upstream.calls) == attempts

    test()


@pytest.mark.requirement("L4")
@on_trio
async def test_what_retry_after_names_is_waited_for() -> None:
    upstream = FakeUpstream(Fails(UpstreamRateLimited("later", retry_after=7)), Says("now"))
    assert await ask(pool_of(upstream)) == "now"
    assert anyio.current_time() == 7


@pytest.mark.requirement("L4")
@on_trio
async def test_after_the_first_byte_nothing_is_tried_again() -> None:
    torn, well = FakeUpstream(Fails(UpstreamProtocol("torn"), first="half")), FakeUpstream()
    pool = pool_of(torn, well, balance="round_robin")
    for _ in range(2):
        with contextlib.suppress(UpstreamProtocol):
            await ask(pool)
    assert len(torn.calls) == 1
    assert pool.replicas[0].errors == 1


@pytest.mark.requirement("L4")
@on_trio
async def test_an_answer_that_nobody_has_heard_begins_again_elsewhere() -> None:
    torn = FakeUpstream(Fails(UpstreamProtocol("torn"), first="half"))
    pool = pool_of(torn, FakeUpstream(Says("all of it")), balance="round_robin")
    for _ in range(2):
        said: list[str] = []
        async with pool.open(Call(QUESTION, on_restart=said.clear)) as chunks:
            async for chunk in chunks:
                said.append(chunk.text)
        assert "".join(said) == "all of it"
    assert len(torn.calls) == 1
    assert counts(pool) == [(1, 1, 0), (2, 0, 0)]


@pytest.mark.requirement("L4")
@on_trio
async def test_an_answer_that_breaks_off_everywhere_is_given_up() -> None:
    upstreams = [FakeUpstream(Fails(UpstreamProtocol("torn"), first="half")) for _ in range(2)]
    pool, begun = pool_of(*upstreams), [1]
    with pytest.raises(UpstreamUnavailable):
        async with pool.open(Call(QUESTION, on_restart=lambda: begun.append(1))) as chunks:
            assert {chunk.text async for chunk in chunks} == {"half"}
    assert sum(len(each.calls) for each in upstreams) == len(begun) == 3
    assert all(each.in_flight == 0 for each in pool.replicas)
    assert [each.open_calls for each in upstreams] == [0, 0]


@pytest.mark.requirement("K4")
@on_trio
async def test_a_replica_that_does_not_begin_is_left_for_another() -> None:
    stuck, well = FakeUpstream(Hangs()), FakeUpstream(Says("fine", between=100))
    pool = pool_of(stuck, well)
    assert await ask(pool, first_token_timeout=5) == "fine"
    assert (await ask(pool, first_token_timeout=5)) == "fine"
    assert stuck.cancelled == len(stuck.calls)
    assert pool.replicas[0].errors == len(stuck.calls)


@pytest.mark.requirement("D1")
@on_trio
async def test_a_callers_own_cancellation_says_nothing_but_a_timeout_does() -> None:
    pool = pool_of(FakeUpstream(Hangs()))
    for is_late in (False, True):
        with anyio.move_on_after(1):
            await ask(pool, timed_out=partial(bool, is_late))
    assert counts(pool) == [(2, 1, 0)]


class Shared:
    """What all processes know."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []

    async def find(self, session: str, model: str) -> str | None:
        self.asked.append(session)
        return self.kept.get((session, model))

    def keep(self, session: str, model: str, replica: str) -> None:
        self.kept[session, model] = replica


@pytest.mark.requirement("D3")
@on_trio
async def test_a_session_goes_where_another_process_sent_it() -> None:
    shared = Shared()
    pools = [pool_of(*(FakeUpstream(Says(str(place))) for place in range(5))) for _ in range(3)]
    for pool in pools:
        pool.shared_sessions = shared
    homes = {session: await ask(pools[0], session=session) for session in ("a", "b", "c")}
    for pool in pools[1:]:
        for session, home in homes.items():
            assert [await ask(pool, session=session) for _ in range(2)] == [home, home]
    assert shared.asked == ["a", "b", "c"] * 3, "once at each process"
    assert shared.kept["a", "m"] == f"{homes['a']}#0"
    await ask(pools[0])
    assert len(shared.asked) == 9
    shared.kept["d", "m"] = "http://gone#0"
    assert await ask(pools[0], session="d") in "01234"


@pytest.mark.requirement("D3")
@on_trio
async def test_a_session_stays_where_it_was_and_moves_when_that_is_gone() -> None:
    upstreams = [FakeUpstream(Says("0")), FakeUpstream(Says("1")), FakeUpstream(Says("2"))]
    pool = pool_of(*upstreams)
    home = int(await ask(pool, session="s"))
    for _ in range(5):
        assert await ask(pool, session="s") == str(home)
    assert {await ask(pool) for _ in range(3)} == {"0", "1", "2"}
    upstreams[home].behaviours = (AWAY,)
    moved = await ask(pool, session="s")
    assert moved != str(home)
    upstreams[home].behaviours = (Says(str(home)),)
    assert await ask(pool, session="s") == moved


@pytest.mark.requirement("D1")
@on_trio
async def test_a_fast_failing_replica_attracts_no_traffic() -> None:
    bad, good = FakeUpstream(AWAY), FakeUpstream(Says("fine", before=1))
    pool = pool_of(bad, good, attempts=1)

    async def caller() -> None:
        for _ in range(20):
            try:
                await ask(pool)
            except LLMError:
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(caller)
    assert len(bad.calls) <= FAILURES + 5


@pytest.mark.requirement("D1")
@on_trio
async def test_quarantine_probe_and_return() -> None:
    bad, good = FakeUpstream(AWAY), FakeUpstream(Says("fine", before=1))
    pool = pool_of(bad, good, balance="round_robin")
    for _ in range(20):
        await ask(pool)
    assert len(bad.calls) == FAILURES
    assert pool.replicas[0].breaker.state(anyio.current_time()) == "open"
    await anyio.sleep(WINDOW_SECS)
    bad.behaviours = (*bad.behaviours * len(bad.calls), Says("back", before=1))
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask, pool)
    assert len(bad.calls) == FAILURES + 1
    assert pool.replicas[0].breaker.state(anyio.current_time()) == "closed"


@pytest.mark.requirement("D1")
@on_trio
async def test_the_last_replica_is_never_left_alone() -> None:
    upstream = FakeUpstream(*[AWAY] * 10, Says("back"))
    pool = pool_of(upstream, attempts=1)
    for _ in range(10):
        with pytest.raises(UpstreamConnect):
            await ask(pool)
    assert await ask(pool) == "back"


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("round_robin", {"0": 40, "1": 40, "2": 40}),
        ("weighted", {"0": 20, "1": 40, "2": 60}),
        ("least_load", {"0": 40, "1": 40, "2": 40}),
    ],
)
@pytest.mark.requirement("D1")
def test_who_is_asked_how_often(balance: Any, expected: dict[str, int]) -> None:
    replicas = [Replica(str(place), FakeUpstream(), weight=place + 1.0) for place in range(3)]
    balancer = Balancer(balance)
    assert Counter(balancer.choose(replicas, 0.0).instance_id for _ in range(120)) == expected


@pytest.mark.requirement("D1")
def test_the_quickest_and_the_freest_is_preferred() -> None:
    replicas = [Replica(str(place), FakeUpstream()) for place in range(3)]
    for replica, latency, in_flight in zip(replicas, (0.1, 0.2, 0.9), (5, 0, 0), strict=True):
        replica.latency, replica.in_flight = latency, in_flight
    assert Balancer("latency").choose(replicas, 0.0) is replicas[1]
    assert Balancer("least_load").choose(replicas[:2], 0.0) is replicas[1]


BROKEN = Fails(UpstreamStatus("CUDA error", upstream_status=500))


def state_of(pool: Pool, place: int = 0) -> str:
    return pool.replicas[place].breaker.state(anyio.current_time())


async def fail(pool: Pool, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LLMError):
            await ask(pool)


@pytest.mark.requirement("D1")
@on_trio
async def test_the_attempts_of_one_request_count_once() -> None:
    pool = pool_of(FakeUpstream(BROKEN))
    await fail(pool, 1)
    assert counts(pool) == [(3, 3, 0)]
    assert pool.replicas[0].breaker.failures == 1


@pytest.mark.requirement("D1")
@on_trio
async def test_a_burst_of_requests_that_nobody_answers_may_be_their_own_fault() -> None:
    pool = pool_of(FakeUpstream(BROKEN), FakeUpstream(BROKEN))
    await fail(pool, 20)
    assert anyio.current_time() < SPREAD_SECS
    assert [state_of(pool, place) for place in (0, 1)] == ["closed", "closed"]


@pytest.mark.requirement("D1")
@on_trio
async def test_a_replica_that_fails_every_request_for_some_time_is_quarantined() -> None:
    pool = pool_of(FakeUpstream(BROKEN))
    for _ in range(FAILURES):
        assert state_of(pool) == "closed"
        await fail(pool, 1)
        await anyio.sleep(SPREAD_SECS / 2)
    assert state_of(pool) == "open"


@pytest.mark.parametrize(
    "error", [UpstreamStatus("", upstream_status=500), UpstreamProtocol(""), ConnectionClosed(""), UpstreamTimeout("")]
)
def test_a_replica_that_fails_what_another_one_answers_is_quarantined_at_once(error: LLMError) -> None:
    @on_trio
    async def test() -> None:
        pool = pool_of(FakeUpstream(Fails(error)), FakeUpstream(Says("fine")), balance="round_robin")
        while (bad := pool.replicas[0]).errors < FAILURES:
            assert state_of(pool) == "closed"
            assert await ask(pool) == "fine"
            await anyio.sleep(2 * FAILURES)  # it is not preferred while its failures are recent
        assert (bad.breaker.failures, state_of(pool)) == (FAILURES, "open")

    test()


@pytest.mark.requirement("D1")
@on_trio
async def test_where_no_connection_comes_about_no_request_is_to_blame() -> None:
    pool = pool_of(FakeUpstream(AWAY))
    await fail(pool, 1)
    assert state_of(pool) == "open"


@pytest.mark.requirement("D1")
@on_trio
async def test_an_answer_closes_the_circuit_of_the_only_replica() -> None:
    upstream = FakeUpstream(*[AWAY] * 3, Says("back"))
    pool = pool_of(upstream)
    await fail(pool, 1)
    assert state_of(pool) == "open"
    assert await ask(pool) == "back"
    assert state_of(pool) == "closed"


@given(st.lists(st.tuples(st.floats(0, 0.05), st.booleans()), max_size=400))
@pytest.mark.requirement("L4")
def test_retries_stay_within_their_budget(steps: list[tuple[float, bool]]) -> None:
    budget, now, calls, retries = RetryBudget(), 0.0, [], []
    for wait, is_retry in steps:
        now += wait
        if not is_retry:
            budget.called(now)
            calls.append(now)
        elif budget.allows(now):
            retries.append(now)
            recent = [sum(at > now - 10 for at in times) for times in (calls, retries)]
            assert recent[1] <= 0.2 * recent[0] + 101


@given(st.integers(1, 30), st.integers())
@pytest.mark.requirement("L4")
def test_pauses_grow_and_are_bounded(attempt: int, seed: int) -> None:
    secs = pause(UpstreamConnect(""), attempt, Random(seed))
    assert secs is not None
    assert 0 <= secs <= min(0.1 * 2 ** (attempt - 1), 5.0)
