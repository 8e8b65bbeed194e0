"""Which replica is asked (D1). Pure.

A replica whose last calls have just failed counts as busier than it is: one that fails fast is always free, and would
otherwise attract every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from chorus.llm.address import Balance

_FAILURE_LOAD: Final = 8
"""A failure weighs as much as so many calls in flight."""
_SMOOTHING: Final = 0.3
"""How much the newest call counts in the mean time to the first byte."""


class Load(Protocol):
    """What a balancer looks at. `latency` is the smoothed time to the first byte in seconds, None before the first."""

    in_flight: int
    weight: float
    latency: float | None

    def ailing(self, now: float) -> int:
        """Failures in a row, while they are recent."""
        ...


def smoothed(mean: float | None, newest: float) -> float:
    """The moving average (EWMA) with `newest` in it."""
    return newest if mean is None else mean + _SMOOTHING * (newest - mean)


class Balancer:
    """Chooses by one strategy. Ties go round."""

    def __init__(self, strategy: Balance) -> None:
        self._strategy = strategy
        self._turn = 0
        self._credits: dict[int, float] = {}

    def choose(self, replicas: Sequence[Load], among: Sequence[int], now: float) -> int:
        """The position in `replicas` of the one to ask at `now` (seconds); it is one of `among`, which is not empty."""
        if len(among) == 1:
            return among[0]
        if self._strategy == "weighted":
            return self._weighted(replicas, among)
        self._turn += 1
        order = sorted(among, key=lambda place: (place - self._turn) % len(replicas))
        return min(order, key=lambda place: self._cost(replicas[place], now))

    def _cost(self, replica: Load, now: float) -> float:
        failures = replica.ailing(now)
        if self._strategy == "round_robin":
            return float(failures > 0)
        load = replica.in_flight + _FAILURE_LOAD * failures
        if self._strategy == "latency":
            return (replica.latency or 0.0) * (load + 1)
        return load

    def _weighted(self, replicas: Sequence[Load], among: Sequence[int]) -> int:
        """Smooth weighted round robin: each gains its weight, the richest pays for all."""
        total = sum(replicas[place].weight for place in among)
        for place in among:
            self._credits[place] = self._credits.get(place, 0.0) + replicas[place].weight
        best = max(among, key=lambda place: (self._credits[place], -place))
        self._credits[best] -= total
        return best
