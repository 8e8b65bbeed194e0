"""One address of a model, and what is known of it (D1, D4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder
from chorus.llm.pool.breaker import Breaker
from chorus.llm.pool.health import Health
from chorus.llm.provider import Lessons, TokenCounter
from chorus.llm.relay import Relay
from chorus.llm.rerank import Reranker


@dataclass(eq=False, slots=True)
class Replica:
    """One address of a model, and what is known of it."""

    instance_id: str
    upstream: Upstream
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    relay: Relay | None = None
    weight: float = 1.0
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    calls: int = 0
    errors: int = 0
    latency: float | None = None
    """The smoothed time to the first byte in seconds; None before the first."""
    last_choice: int = 0
    """The number of the balancer's choice that was this one; 0 before the first."""
    credit: float = 0.0
    """What the replica has left of its weight (see `Balancer`)."""
    health: Health | None = None
    """Its checks, where there are any (D4)."""
    lessons: Lessons | None = None
    """What its refusals have taught."""
    count_tokens: TokenCounter | None = None
    """Counts the tokens of a prompt, where it can."""

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
