"""Asking a replica how it is, without a token (D4).

What calls say of it and what these checks say go into the same breaker.

Above: `service` lets `Health.watch` run as a task of the server. Below: a provider knows what to
ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import anyio
import msgspec

from chorus.errors import LLMError, UpstreamTimeout
from chorus.llm.pool.breaker import Breaker, Outcome, outcome_of
from chorus.tasks import surviving

CHECK_SECS: Final = 5.0
"""How long a check may take; a list of models is there in milliseconds."""
_JITTER: Final = 0.2
"""Checks come so much earlier or later, as a share of the interval: those of many replicas do not
stay in step.
"""


class Check(msgspec.Struct, frozen=True):
    """One check: when it ended, how long it took (seconds), and what it says of the replica."""

    at: float
    took: float
    outcome: Outcome
    error: str | None = None

    def as_json(self, now: float) -> dict[str, Any]:
        """This check as `GET /api/v1/upstreams` shows it."""
        return {
            "outcome": self.outcome,
            "secs_ago": round(now - self.at, 1),
            "took_ms": round(self.took * 1000, 1),
            "error": self.error,
        }


class Health:
    """The checks of one replica.

    `ask` gets the seconds that connecting may take. It raises LLMError where the check fails.
    """

    def __init__(
        self, instance_id: str, ask: Callable[[float], Awaitable[None]], every_secs: float, breaker: Breaker
    ) -> None:
        self._instance_id = instance_id
        self._ask = ask
        self._every_secs = every_secs
        self._breaker = breaker
        self.last: Check | None = None

    async def watch(self, rng: Random) -> None:
        """Check again and again, for ever; the first time within one interval."""
        await anyio.sleep(rng.uniform(0.0, self._every_secs))
        while True:
            with surviving("a health check failed"):
                await self.check()
            await anyio.sleep(self._every_secs * rng.uniform(1 - _JITTER, 1 + _JITTER))

    async def check(self) -> None:
        """Ask once, and tell the breaker. What went wrong is in `last`."""
        began = anyio.current_time()
        error: LLMError | None = UpstreamTimeout(f"'{self._instance_id}' did not answer within {CHECK_SECS:g} s")
        with anyio.move_on_after(CHECK_SECS):
            try:
                await self._ask(CHECK_SECS)
                error = None
            except LLMError as problem:
                error = problem
        outcome: Outcome = outcome_of(error) if error is not None else "success"
        now = anyio.current_time()
        self._breaker.checked(outcome, now)
        self.last = Check(now, now - began, outcome, error.log_message if error is not None else None)
