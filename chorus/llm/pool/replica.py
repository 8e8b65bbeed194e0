"""One address of a model: what is known of it, and its calls in its counters (D1, D4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from chorus.errors import LLMError
from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder
from chorus.llm.pool.balance import smoothed
from chorus.llm.pool.breaker import Breaker, Outcome, is_proof, outcome_of
from chorus.llm.pool.health import Health
from chorus.llm.provider import Lessons
from chorus.llm.rerank import Reranker


@dataclass(eq=False, slots=True)
class Replica:
    """One address of a model, and what is known of it."""

    instance_id: str
    upstream: Upstream
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    weight: float = 1.0
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    calls: int = 0
    errors: int = 0
    latency: float | None = None
    health: Health | None = None
    """Its checks, where there are any (D4)."""
    lessons: Lessons | None = None
    """What its refusals have taught."""

    def ailing(self, now: float) -> int:
        """Failures in a row, while they are recent."""
        return self.breaker.ailing(now)

    def as_json(self, now: float) -> dict[str, Any]:
        """This replica as `GET /api/v1/upstreams` shows it (D4)."""
        return {
            "instance_id": self.instance_id,
            "state": self.breaker.state(now),
            "retry_in_secs": round(self.breaker.retry_in(now), 1),
            "in_flight": self.in_flight,
            "calls": self.calls,
            "errors": self.errors,
            "failures_in_a_row": self.breaker.failures,
            "first_byte_ms": round(self.latency * 1000, 1) if self.latency is not None else None,
            "weight": self.weight,
            "learned": self.lessons.as_json() if self.lessons is not None else [],
            "last_check": self.health.last.as_json(now) if self.health is not None and self.health.last else None,
        }


class Turn:
    """One call of one replica, in its counters. A `with` block around a whole call ends it by what comes of it."""

    def __init__(self, replica: Replica, clock: Callable[[], float], *, again: bool = False) -> None:
        """`again` says that the same request has failed at this replica before."""
        self.replica = replica
        self._clock = clock
        self._again = again
        self._began = self._clock()
        self._ticket = replica.breaker.begin(self._began)
        replica.in_flight += 1
        replica.calls += 1

    def answered(self) -> None:
        """The first byte is there."""
        self.replica.latency = smoothed(self.replica.latency, self._clock() - self._began)

    def over(self, outcome: Outcome, problem: BaseException | None = None) -> None:
        """The call is over; `problem` is why, where it failed."""
        proven = isinstance(problem, LLMError) and is_proof(problem)
        self.replica.in_flight -= 1
        self.replica.errors += outcome == "failure"
        self.replica.breaker.end(outcome, self._clock(), self._ticket, again=self._again, proven=proven)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.answered()
            self.over("success")
        else:
            self.over(outcome_of(error) if isinstance(error, LLMError) else "neutral", error)
