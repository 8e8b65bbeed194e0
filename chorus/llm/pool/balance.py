"""Which replica is asked (D1). Pure. What the choices leave behind is kept in the replicas, so that
others come and go.

A replica whose last calls have just failed counts as busier than it is: one that fails fast is
always free, and would otherwise attract every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from chorus.types import Balance

_FAILURE_LOAD: Final = 8
"""A failure weighs as much as so many calls in flight."""
_SMOOTHING: Final = 0.3
"""How much the newest call counts in the mean time to the first byte."""


class Load(Protocol):
    """What a balancer looks at, and what it notes."""

    in_flight: int
    weight: float
    latency: float | None
    """The smoothed time to the first byte in seconds; None before the first."""
    last_choice: int
    """The number of the last choice that was this one."""
    credit: float

    def ailing(self, now: float) -> int:
        """Failures in a row, while they are recent."""
        ...


R = TypeVar("R", bound=Load)


def smoothed(mean: float | None, newest: float) -> float:
    """Return the moving average (EWMA) with `newest` in it."""
    return newest if mean is None else mean + _SMOOTHING * (newest - mean)


class Balancer:
    """Chooses by one strategy. Of equals the one is chosen whose last choice is the longest ago."""

    def __init__(self, strategy: Balance) -> None:
        self._strategy = strategy
        self._choices = 0

    def choose(self, replicas: Sequence[R], now: float) -> R:
        """Return the one of `replicas`, which are not empty, to ask at `now` (seconds)."""
        if len(replicas) == 1:
            return replicas[0]
        if self._strategy == "weighted":
            return _by_weight(replicas)
        chosen = min(replicas, key=lambda replica: (self._cost(replica, now), replica.last_choice))
        self._choices += 1
        chosen.last_choice = self._choices
        return chosen

    def _cost(self, replica: Load, now: float) -> float:
        failures = replica.ailing(now)
        if self._strategy == "round_robin":
            return float(failures > 0)
        load = replica.in_flight + _FAILURE_LOAD * failures
        if self._strategy == "latency":
            return (replica.latency or 0.0) * (load + 1)
        return load


def _by_weight(replicas: Sequence[R]) -> R:
    """Smooth weighted round robin: each replica gains its weight, and the richest pays for all."""
    for replica in replicas:
        replica.credit += replica.weight
    richest = max(replicas, key=lambda replica: replica.credit)
    richest.credit -= sum(replica.weight for replica in replicas)
    return richest
