"""The circuit of one replica: when it opens, who may try it, what closes it (D1)."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chorus.errors import (
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)
from chorus.llm.base import ConnectionClosed
from chorus.llm.pool.breaker import (
    FAILURES,
    MAX_WINDOW_SECS,
    WINDOW_SECS,
    Breaker,
    Outcome,
    Ticket,
    is_proof,
    outcome_of,
)
from chorus.llm.pool.retry import is_retryable


class Circuit(RuleBasedStateMachine):
    """Any calls and health checks, in any order, over any time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.going_on: list[Ticket] = []

    @rule(secs=st.floats(0, 400))
    def wait(self, secs: float) -> None:
        self.now += secs

    @rule(is_forced=st.booleans())
    def call(self, is_forced: bool) -> None:
        if is_forced or self.breaker.admits(self.now):
            self.going_on.append(self.breaker.begin(self.now))

    @rule(outcome=st.sampled_from(["success", "failure", "neutral"]))
    def check(self, outcome: Outcome) -> None:
        before, admitted = self.breaker.state(self.now), self.breaker.admits(self.now)
        self.breaker.checked(outcome, self.now)
        after = self.breaker.state(self.now)
        if before != "closed":
            assert after != "closed"
        if before == "half_open" and not admitted:
            assert after == "half_open"  # the call that tries it decides
        if outcome == "success" and before != "open":
            assert after == before

    @precondition(lambda self: self.going_on)
    @rule(
        place=st.integers(0, 100),
        outcome=st.sampled_from(["success", "failure", "neutral"]),
        again=st.booleans(),
        proven=st.booleans(),
    )
    def end(self, place: int, outcome: Outcome, again: bool, proven: bool) -> None:
        ticket = self.going_on.pop(place % len(self.going_on))
        before = self.breaker.state(self.now)
        self.breaker.end(outcome, self.now, ticket, again=again, proven=proven)
        after = self.breaker.state(self.now)
        if outcome == "neutral":
            assert after == before
        elif outcome == "success" and ticket.is_probe:
            assert after == "closed"
        elif outcome == "failure" and ticket.is_probe and before != "closed":
            assert after == "open"
        elif outcome == "success":
            assert after in (before, "closed")

    @rule()
    def blame(self) -> None:
        self.breaker.blame(self.now)

    @invariant()
    def one_probe_and_a_bounded_wait(self) -> None:
        probes = sum(each.is_probe for each in self.going_on)
        assert probes <= 1
        assert 0 <= self.breaker.retry_in(self.now) <= MAX_WINDOW_SECS
        if probes and self.breaker.state(self.now) == "half_open":
            assert not self.breaker.admits(self.now)


TestCircuit = pytest.mark.requirement("D1")(Circuit.TestCase)


@pytest.mark.requirement("D1")
def test_an_answer_that_began_before_the_circuit_opened_does_not_close_it() -> None:
    breaker = Breaker()
    long_answer = breaker.begin(0.0)
    for _ in range(FAILURES):
        breaker.end("failure", 1.0, breaker.begin(1.0), proven=True)
    breaker.end("success", 2.0, long_answer)
    assert breaker.state(2.0) == "open"


@pytest.mark.requirement("D1")
def test_each_quarantine_is_longer() -> None:
    breaker, now, windows = Breaker(), 0.0, []
    for _ in range(FAILURES):
        breaker.end("failure", now, breaker.begin(now), proven=True)
    for _ in range(12):
        windows.append(breaker.retry_in(now))
        now += windows[-1]
        breaker.end("failure", now, breaker.begin(now))
    assert windows[:3] == [WINDOW_SECS, 2 * WINDOW_SECS, 3 * WINDOW_SECS]
    assert windows[-1] == MAX_WINDOW_SECS


@pytest.mark.requirement("D1")
def test_what_an_error_says_of_its_replica() -> None:
    assert outcome_of(UpstreamRefused("", upstream_status=400)) == "success"
    assert outcome_of(UpstreamStatus("", upstream_status=404)) == "success"
    assert outcome_of(UpstreamStatus("", upstream_status=503)) == "neutral"
    assert outcome_of(UpstreamRateLimited("")) == "neutral"
    for error in (
        UpstreamStatus("", upstream_status=500),
        UpstreamConnect(""),
        UpstreamProtocol(""),
        UpstreamTimeout(""),
        ConnectionClosed(""),
    ):
        assert outcome_of(error) == "failure"
        assert is_retryable(error)
        assert is_proof(error) == (type(error) is UpstreamConnect)
