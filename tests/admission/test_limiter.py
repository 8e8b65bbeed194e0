"""Rate limits (K1): whatever is asked in whatever order, no account lets through more than its
rate, nothing that was refused has cost anything, and what was given back is there again. In this
process and in Redis, and by several processes at once.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chorus.admission import redis_limiter
from chorus.admission.limiter import Decision, Limiter, MemoryLimiter
from chorus.admission.limits import Limit, Limits, costs_of
from chorus.admission.meter import Account
from chorus.admission.redis_limiter import RedisLimiter
from chorus.auth.keys import Key
from chorus.auth.principal import Principal
from chorus.errors import ConfigError
from chorus.rate import Rate, rate
from tests.kit.programs import RedisServer
from tests.workflow.running import on_trio

pytestmark = pytest.mark.requirement("K1")
MINUTE = Rate(60, 60.0)
ROOT = Path(__file__).resolve().parents[2]


Charge = tuple[Account, int]


def charge(cost: int = 1, of: Rate = MINUTE, name: str = "a") -> Charge:
    return Account(name, "server", "this server", "requests", of), cost


async def take(limiter: Limiter, charges: Sequence[Charge]) -> Decision:
    return await limiter.take([account for account, _ in charges], [cost for _, cost in charges])


class Accounts(RuleBasedStateMachine):
    """Three accounts, charged together in any combination, at any time, and settled in any
    order.
    """

    RATES = {"a": Rate(5, 60.0), "b": Rate(3, 1.0), "c": Rate(50, 3600.0)}

    def __init__(self) -> None:
        super().__init__()
        self.limiter = MemoryLimiter(lambda: self.now)
        self.now = 0.0
        self.admitted: dict[str, list[tuple[float, int]]] = {name: [] for name in self.RATES}
        self.open: list[Decision] = []

    def do(self, work: Any) -> Any:
        """Run a step of the limiter, which awaits nothing."""
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waited for something: others could get in between")

    def owed(self) -> dict[str, float]:
        """Seconds that each account is behind, as the limiter knows it."""
        charges = [charge(0, of, name) for name, of in self.RATES.items()]
        looked = self.do(take(self.limiter, charges))
        return {each.name: max(self.limiter._paid_at.get(each.name, 0.0) - self.now, 0) for each in looked.accounts}

    @rule(secs=st.floats(0.01, 100))
    def wait(self, secs: float) -> None:
        self.now += secs

    @rule(costs=st.dictionaries(st.sampled_from(sorted(RATES)), st.integers(1, 8), min_size=1))
    def ask(self, costs: dict[str, int]) -> None:
        before = self.owed()
        charges = [charge(cost, self.RATES[name], name) for name, cost in costs.items()]
        decision = self.do(take(self.limiter, charges))
        fits = {
            name: before[name] + min(cost, self.RATES[name].amount) * self.RATES[name].each
            <= self.RATES[name].per + 1e-4
            for name, cost in costs.items()
        }
        if decision.refused is None:
            assert all(fits.values())
            self.open.append(decision)
        else:
            refused, wait = decision.refused
            assert wait > 0
            assert not fits[refused.name] or wait < 1e-3
            assert self.owed() == before, "a refused request has cost something"

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 50), spent=st.integers(0, 12))
    def settle(self, place: int, spent: int) -> None:
        decision = self.open.pop(place % len(self.open))
        before = self.owed()
        self.do(decision.settle([spent] * len(decision.costs)))
        after = self.owed()
        for each, cost in zip(decision.accounts, decision.costs, strict=True):
            due = max(before[each.name] + (spent - cost) * each.rate.each, 0)
            assert after[each.name] == pytest.approx(due, abs=1e-6)

    @precondition(lambda self: self.open)
    @rule()
    def give_everything_back(self) -> None:
        """When all that is open comes to nothing, what is owed is what was settled before: never
        less than nothing.
        """
        while self.open:
            decision = self.open.pop()
            self.do(decision.settle([0] * len(decision.costs)))

    @invariant()
    def standing_says_what_fits(self) -> None:
        for name, of in self.RATES.items():
            looked = self.do(take(self.limiter, [charge(0, of, name)]))
            left = looked.standing.requests
            if left.remaining:
                decision = self.do(take(self.limiter, [charge(left.remaining, of, name)]))
                assert decision.refused is None
                self.do(decision.settle([0]))


TestAccounts = Accounts.TestCase


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), max_size=60))
def test_no_window_lets_through_more_than_twice_the_rate_and_no_two_more_than_three_times(
    asked: list[tuple[float, int]],
) -> None:
    """The bound of a token bucket: an amount at once, and then the rate."""
    of, now = Rate(6, 60.0), 0.0
    limiter = MemoryLimiter(lambda: now)
    admitted: list[tuple[float, int]] = []
    for pause, cost in asked:
        now += pause
        if asyncio.run(take(limiter, [charge(cost, of)])).refused is None:
            admitted.append((now, cost))
    for begin, _ in admitted:
        for periods in (1, 2, 3):
            inside = sum(cost for at, cost in admitted if begin <= at < begin + periods * of.per)
            assert inside <= of.amount * (periods + 1)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes over half a second for a hundred connections at once; Redis away is
    tested below.
    """
    monkeypatch.setattr(redis_limiter, "_ANSWER_SECS", 20.0)


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    made: Limiter = MemoryLimiter()
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        made = RedisLimiter(server.url)
        await made._redis.flushall()  # type: ignore[attr-defined]
    yield made
    await made.aclose()


async def test_all_is_checked_before_anything_is_charged(limiter: Limiter) -> None:
    narrow, wide = charge(2, Rate(2, 3600.0), "narrow"), charge(2, MINUTE, "wide")
    assert (await take(limiter, [wide, narrow])).refused is None
    refused = await take(limiter, [wide, narrow])
    assert refused.refused is not None
    whose, wait = refused.refused
    assert whose.name == "narrow"
    assert 3500 < wait <= 3600
    left = (await take(limiter, [charge(0, MINUTE, "wide")])).standing.requests
    assert left is not None
    assert left.remaining == 58


async def test_what_was_not_needed_comes_back_and_what_was_overdrawn_is_owed(limiter: Limiter) -> None:
    slow = Rate(10, 86400.0)
    taken = await take(limiter, [charge(10, slow)])
    assert (await take(limiter, [charge(1, slow)])).refused is not None
    await taken.settle([3])
    second = await take(limiter, [charge(7, slow)])
    assert second.refused is None
    assert second.standing.requests is not None
    assert second.standing.requests.remaining == 0
    await second.settle([17])
    refused = (await take(limiter, [charge(1, slow)])).refused
    assert refused is not None
    assert refused[1] == pytest.approx(11 * 8640, abs=5)


async def test_one_larger_than_the_limit_goes_when_nothing_else_is_owed(limiter: Limiter) -> None:
    slow = Rate(4, 86400.0)
    assert (await take(limiter, [charge(9, slow)])).refused is None
    refused = (await take(limiter, [charge(9, slow)])).refused
    assert refused is not None
    assert refused[1] == pytest.approx(9 * 21600, abs=5)


async def test_the_tightest_limit_of_each_kind_is_told(limiter: Limiter) -> None:
    tokens = Account("t", "key", "this key", "tokens", Rate(1000, 60.0)), 400
    standing = (await take(limiter, [charge(6, MINUTE, "x"), charge(6, Rate(8, 60.0), "y"), tokens])).standing
    assert standing.requests is not None
    assert standing.tokens is not None
    assert (standing.requests.limit, standing.requests.remaining) == (8, 2)
    assert (standing.tokens.limit, standing.tokens.remaining) == (1000, 600)
    assert standing.requests.reset_secs == pytest.approx(45, abs=1)


async def test_many_at_once_get_no_more_than_there_is(limiter: Limiter) -> None:
    limits = [charge(1, Rate(25, 86400.0), "all"), charge(1, Rate(40, 86400.0), "wide")]
    admitted: list[bool] = []

    async def ask() -> None:
        admitted.append((await take(limiter, limits)).refused is None)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
    assert sum(admitted) == 25
    left = (await take(limiter, [charge(0, Rate(40, 86400.0), "wide")])).standing.requests
    assert left is not None
    assert left.remaining == 15, "75 refusals have cost nothing"


_ASK_MANY = """
import sys, anyio
from chorus.admission import redis_limiter
from chorus.admission.meter import Account
from chorus.admission.redis_limiter import RedisLimiter
from chorus.rate import Rate

async def main():
    redis_limiter._ANSWER_SECS = 60.0
    limiter = RedisLimiter(sys.argv[1])
    sys.stdin.readline()
    accounts = [Account(name, "server", "it", "requests", Rate(amount, 86400.0)) for name, amount in (("p", 50), ("q", 90))]
    admitted = given_back = 0
    for _ in range(100):
        decision = await limiter.take(accounts, [1, 1])
        assert decision.by is limiter, "redis was away"
        if decision.refused is None:
            admitted += 1
            if admitted % 5 == 0:
                await decision.settle([0, 0])
                given_back += 1
    print(admitted - given_back)
    await limiter.aclose()

anyio.run(main)
"""


@pytest.mark.slow
def test_several_processes_share_the_accounts_in_redis(redis: RedisServer) -> None:
    command = [sys.executable, "-c", _ASK_MANY, redis.url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    started = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for each in started:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    admitted = [int(each.communicate(timeout=120)[0]) for each in started]
    assert sum(admitted) == 50
    assert asyncio.run(remaining(redis, "q", Rate(90, 86400.0))) == 40


async def remaining(redis: RedisServer, account: str, of: Rate) -> int:
    limiter = RedisLimiter(redis.url)
    left = (await take(limiter, [charge(0, of, account)])).standing.requests
    await limiter.aclose()
    assert left is not None
    return left.remaining


async def test_while_redis_is_away_each_process_limits_for_itself_and_then_redis_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chorus.admission.redis_limiter._AWAY_SECS", 0.2)
    monkeypatch.setattr("chorus.admission.redis_limiter._ANSWER_SECS", 30.0)
    three = [charge(1, Rate(3, 86400.0))]
    with RedisServer() as server:
        limiter = RedisLimiter(server.url)
        before = await take(limiter, three)
        assert before.by is limiter
        server.stop()
        began = time.monotonic()
        away = [await take(limiter, three) for _ in range(5)]
        assert time.monotonic() - began < 15, "asking a dead Redis holds up every request"
        assert [each.refused is None for each in away] == [True, True, True, False, False]
        await before.settle([0])  # nobody is there to hear it, and nothing breaks
        await away[0].settle([0])
        assert (await take(limiter, three)).refused is None
        server.start()
        with anyio.fail_after(30):
            while (await take(limiter, three)).by is not limiter:
                await anyio.lowlevel.checkpoint()
        await limiter.aclose()


async def test_a_caller_that_leaves_while_redis_is_asked_can_still_give_back(redis: RedisServer) -> None:
    limiter = RedisLimiter(redis.url)
    one = [charge(1, Rate(1, 86400.0), "leaver")]
    with anyio.CancelScope() as scope:
        scope.cancel()
        taken = await take(limiter, one)
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            await taken.settle([0])
    assert scope.cancelled_caught
    assert (await take(limiter, one)).refused is None
    await limiter.aclose()


def test_a_wrong_address_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="no address of a Redis"):
        RedisLimiter("mysql://nowhere")


@pytest.mark.parametrize(
    "answer",
    [
        b"*1\r\n$4\r\nsoon\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        b"*0\r\n",
        b":7\r\n",
        b"*1\r\n$-1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
async def test_whatever_answers_instead_of_redis_refuses_no_request(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_limiter, "_ANSWER_SECS", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            writer.write(answer if b"EVALSHA" in request else b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        limiter = RedisLimiter(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        taken = await take(limiter, [charge(1, Rate(3, 86400.0))])
        assert taken.refused is None
        assert taken.by is not limiter
        await taken.settle([0])
        await limiter.aclose()


def test_accounts_that_owe_nothing_are_forgotten() -> None:
    limiter = MemoryLimiter()

    async def ask() -> None:
        for number in range(10_100):
            await take(limiter, [charge(1, Rate(1000, 1.0), str(number))])
            if number == 10_000:
                await anyio.sleep(5)

    on_trio(ask)
    assert len(limiter) < 200


class TestCharges:
    """What a request comes under."""

    LIMITS = Limits(
        Limit((rate("100/minute"),), (rate("5000/minute"),)),
        Limit((rate("10/minute"),)),
        {"/v1/embeddings": Limit((rate("7/second"), rate("9/day")))},
        {"glm": Limit((rate("20/minute"),))},
    )

    def charged(self, caller: Principal, calls: dict[str, int], tokens: dict[str, int]) -> dict[str, int]:
        accounts = self.LIMITS.accounts(caller, "plan", calls)
        return {each.name: cost for each, cost in zip(accounts, costs_of(accounts, calls, tokens), strict=True)}

    def test_an_ensemble_is_charged_for_all_of_its_calls(self) -> None:
        calls, tokens = {"glm": 3, "other": 4}, {"glm": 30, "other": 40}
        assert self.charged(Principal("/v1/responses"), calls, tokens) == {
            "server::requests:100/minute": 7,
            "server::tokens:5000/minute": 70,
            "model:glm:requests:20/minute": 3,
        }

    def test_each_key_has_an_account_of_its_own(self) -> None:
        load = {"other": 1}, {"other": 5}
        ordinary = Principal("/v1/embeddings", Key("k1", "laptop", "hash"))
        special = Principal("/v1/chat/completions", Key("k2", "ci", "hash", requests=("3/day",), tokens=("50/day",)))
        assert list(self.charged(ordinary, *load))[2:] == [
            "key:k1:requests:10/minute",
            "route:/v1/embeddings:requests:7/second",
            "route:/v1/embeddings:requests:9/day",
        ]
        assert list(self.charged(special, *load))[2:] == ["key:k2:requests:3/day", "key:k2:tokens:50/day"]

    def test_nothing_is_charged_where_nothing_is_limited(self) -> None:
        assert not Limits().concern(Principal("/v1/embeddings", Key("k", "x", "hash")))
        assert Limits().concern(Principal("/v1/embeddings", Key("k", "x", "hash", tokens=("1/day",))))


@pytest.mark.parametrize("text", ["60/minute", "1/second", " 5 / hour ", "1000000/day"])
def test_rates_are_read_as_they_are_written(text: str) -> None:
    assert str(rate(text)) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["", "0/minute", "-1/minute", "1.5/minute", "60", "60/fortnight", "60 per minute", "1e3/day"]
)
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        rate(text)
