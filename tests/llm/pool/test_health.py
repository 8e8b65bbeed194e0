"""Health checks and what they say to the breaker (D4). On a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import UpstreamConnect, UpstreamRateLimited, UpstreamStatus
from chorus.llm.pool.breaker import FAILURES, WINDOW_SECS, Breaker, Outcome
from chorus.llm.pool.health import CHECK_SECS, Health
from tests.workflow.running import on_trio

pytestmark = pytest.mark.requirement("D4")
EVERY = 10.0


class Server:
    """A server that can be away, or so slow that nobody waits for it."""

    def __init__(self, error: Callable[[], Exception] | None = None, secs: float = 0.0) -> None:
        self.error = error
        self.secs = secs
        self.asked: list[float] = []

    async def ask(self, connect_timeout: float) -> None:
        self.asked.append(anyio.current_time())
        await anyio.sleep(self.secs)
        if self.error is not None:
            raise self.error()


def call(breaker: Breaker, outcome: Outcome, now: float) -> None:
    """A call, of which something proves that the replica is to blame where it fails."""
    breaker.end(outcome, now, breaker.begin(now), proven=True)


def opened() -> Breaker:
    """A breaker that calls have opened at 0."""
    breaker = Breaker()
    for _ in range(FAILURES):
        call(breaker, "failure", 0.0)
    assert breaker.state(0.0) == "open"
    return breaker


@on_trio
async def test_checks_come_again_and_again_and_not_in_step() -> None:
    servers = [Server(), Server()]
    async with anyio.create_task_group() as group:
        for seed, server in enumerate(servers):
            group.start_soon(Health("m@x", server.ask, EVERY, Breaker()).watch, Random(seed))
        await anyio.sleep(100 * EVERY)
        group.cancel_scope.cancel()
    for server in servers:
        assert 0 <= server.asked[0] <= EVERY
        waits = [after - before for before, after in zip(server.asked, server.asked[1:], strict=False)]
        assert all(0.8 * EVERY - 1e-6 <= wait <= 1.2 * EVERY + 1e-6 for wait in waits)
        assert len(set(waits)) > 50
    assert servers[0].asked != servers[1].asked


@on_trio
async def test_a_check_that_fails_in_an_unforeseen_way_is_not_the_last_one() -> None:
    server = Server(lambda: ValueError("not what we expected"))
    health = Health("m@x", server.ask, EVERY, Breaker())
    async with anyio.create_task_group() as group:
        group.start_soon(health.watch, Random(0))
        await anyio.sleep(3 * EVERY)
        server.error = None
        await anyio.sleep(2 * EVERY)
        group.cancel_scope.cancel()
    assert len(server.asked) >= 4
    assert health.last is not None
    assert health.last.outcome == "success"


@pytest.mark.parametrize(
    ("server", "outcome", "error"),
    [
        (Server(), "success", None),
        (Server(lambda: UpstreamConnect("away")), "failure", "away"),
        (Server(lambda: UpstreamStatus("broken", upstream_status=500, detail="a secret")), "failure", "broken"),
        (Server(secs=60), "failure", "'m@x' did not answer within 5 s"),
        (Server(lambda: UpstreamStatus("loading", upstream_status=503)), "neutral", "loading"),
        (Server(lambda: UpstreamRateLimited("later")), "neutral", "later"),
        (Server(lambda: UpstreamStatus("no such route", upstream_status=404)), "success", "no such route"),
        (Server(lambda: UpstreamStatus("who are you", upstream_status=401)), "success", "who are you"),
    ],
)
@on_trio
async def test_what_a_check_says(server: Server, outcome: Outcome, error: str | None) -> None:
    breaker = Breaker()
    health = Health("m@x", server.ask, EVERY, breaker)
    for _ in range(FAILURES):
        await health.check()
    assert health.last is not None
    assert (health.last.outcome, health.last.error) == (outcome, error)
    assert health.last.took == min(server.secs, CHECK_SECS)
    await anyio.sleep(2)
    assert health.last.as_json(anyio.current_time())["secs_ago"] == 2.0
    assert breaker.state(anyio.current_time()) == ("open" if outcome == "failure" else "closed")


def test_checks_and_calls_fail_together() -> None:
    breaker = Breaker()
    for number in range(FAILURES):
        assert breaker.state(0.0) == "closed"
        if number % 2:
            call(breaker, "failure", 0.0)
        else:
            breaker.checked("failure", 0.0)
    assert breaker.state(0.0) == "open"


def test_a_check_that_succeeds_takes_back_checks_and_not_calls() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.checked("failure", 0.0)
    breaker.checked("success", 1.0)
    assert breaker.failures == 0
    for number in range(1, FAILURES):
        call(breaker, "failure", 2.0)
        breaker.checked("success", 3.0)
        assert (breaker.failures, breaker.state(3.0)) == (number, "closed")
    call(breaker, "failure", 4.0)
    assert breaker.state(4.0) == "open"


def test_who_came_back_is_tried_at_once_and_by_one_call() -> None:
    breaker = opened()
    breaker.checked("failure", 1.0)
    breaker.checked("success", 5.0)
    assert breaker.state(5.0) == "half_open"
    probe = breaker.begin(5.0)
    assert probe.is_probe
    breaker.checked("success", 5.5)
    breaker.checked("failure", 5.6)
    assert not breaker.admits(5.6)
    assert breaker.state(5.6) == "half_open"  # what is being tried out is not judged by a check
    breaker.end("success", 6.0, probe)
    assert (breaker.state(6.0), breaker.failures) == ("closed", 0)


def test_who_lists_its_models_and_fails_its_calls_stays_in_quarantine() -> None:
    breaker, now, windows = opened(), 0.0, []
    for _ in range(3):
        windows.append(breaker.retry_in(now))
        until = now + windows[-1]
        while now < until:
            breaker.checked("success", now)
            assert breaker.state(now) == "open"
            now += 1.0
        now = until
        breaker.checked("success", now)
        assert breaker.state(now) == "half_open"
        call(breaker, "failure", now)
    assert windows == [WINDOW_SECS, 2 * WINDOW_SECS, 3 * WINDOW_SECS]


def test_who_is_still_away_when_its_quarantine_is_over_needs_no_call_to_stay_there() -> None:
    breaker = opened()
    breaker.checked("failure", WINDOW_SECS)
    assert breaker.state(WINDOW_SECS) == "open"
    assert breaker.retry_in(WINDOW_SECS) == 2 * WINDOW_SECS
    breaker.checked("failure", WINDOW_SECS + 1)
    # a quarantine is not made longer while it lasts
    assert breaker.retry_in(WINDOW_SECS + 1) == 2 * WINDOW_SECS - 1


@given(st.lists(st.tuples(st.sampled_from(["success", "neutral"]), st.floats(0, 60)), max_size=30))
def test_no_check_ever_closes_a_circuit(checks: list[tuple[Outcome, float]]) -> None:
    breaker, now = opened(), 0.0
    for outcome, secs in checks:
        now += secs
        breaker.checked("failure", now)
        breaker.checked(outcome, now)
        assert breaker.state(now) != "closed"
