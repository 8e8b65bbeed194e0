"""One attempt of a call at one replica, and all attempts of one call (D1, L4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from chorus.errors import LLMError
from chorus.llm.pool.balance import smoothed
from chorus.llm.pool.breaker import Outcome, is_proof, outcome_of
from chorus.llm.pool.replica import Replica


class Attempt:
    """One attempt at one replica, counted while it lasts.

    A `with` block around a whole call ends it by what comes of the call.
    """

    __slots__ = ("_again", "_began", "_clock", "_ticket", "replica")

    def __init__(self, replica: Replica, clock: Callable[[], float], *, again: bool) -> None:
        """`again` says that the same request has failed at this replica before."""
        self.replica = replica
        self._clock = clock
        self._again = again
        self._began = clock()
        self._ticket = replica.breaker.begin(self._began)
        replica.in_flight += 1
        replica.calls += 1

    def answered(self) -> None:
        """Note the time to the first byte, which has come."""
        self.replica.latency = smoothed(self.replica.latency, self._clock() - self._began)

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """End the attempt; `error` is why it failed."""
        proven = isinstance(error, LLMError) and is_proof(error)
        self.replica.in_flight -= 1
        self.replica.errors += outcome == "failure"
        self.replica.breaker.end(outcome, self._clock(), self._ticket, again=self._again, proven=proven)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.answered()
            self.end("success")
        else:
            self.end(outcome_of(error) if isinstance(error, LLMError) else "neutral", error)


class Attempts:
    """The attempts of one call, over all replicas."""

    __slots__ = ("_failed", "replicas")

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        """The replicas that were tried, in order; one may stand here several times."""
        self._failed: list[Replica] = []

    def begin(self, replica: Replica, clock: Callable[[], float]) -> Attempt:
        """Begin the next attempt."""
        self.replicas.append(replica)
        return Attempt(replica, clock, again=replica in self._failed)

    def note_failure(self, error: LLMError) -> None:
        """Note that the last attempt failed with `error`."""
        if outcome_of(error) == "failure":
            self._failed.append(self.replicas[-1])

    def note_success(self, now: float) -> None:
        """Note that the last attempt succeeded: the request is not why it failed at other
        replicas."""
        for replica in self._failed:
            if replica is not self.replicas[-1]:
                replica.breaker.blame(now)
