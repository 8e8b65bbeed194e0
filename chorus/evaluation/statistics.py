"""What can be said from so many questions. Pure, and the same for the same results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

_Z: Final = 1.959964
"""Two-sided 95 %."""
_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean with its interval of 95 %."""

    mean: float
    low: float
    high: float


def mean_of(scores: Sequence[float], seed: int = 0) -> MeanInterval:
    """Return the mean of scores from 0 to 1.

    Wilson's interval (1927) where all are 0 or 1, which holds for few and for extreme ones; the
    bootstrap's (Efron, 1979) where there are halves, whose draws `seed` fixes.
    """
    if not scores:
        return MeanInterval(math.nan, math.nan, math.nan)
    count, mean = len(scores), sum(scores) / len(scores)
    if any(score not in (0.0, 1.0) for score in scores):
        return _bootstrap(scores, seed)
    centre = (mean + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2))
    return MeanInterval(mean, max(min(centre - half, mean), 0.0), min(max(centre + half, mean), 1.0))


def difference(mine: Sequence[float], theirs: Sequence[float], seed: int = 0) -> MeanInterval:
    """Return how much better `mine` are than `theirs` on the same questions, in the same order:
    paired, so that how hard the questions are does not count.
    """
    return _bootstrap([a - b for a, b in zip(mine, theirs, strict=True)], seed)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` lie, interpolated; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _bootstrap(values: Sequence[float], seed: int) -> MeanInterval:
    if not values:
        return MeanInterval(math.nan, math.nan, math.nan)
    rng, count = Random(seed), len(values)
    means = [sum(rng.choices(values, k=count)) / count for _ in range(_RESAMPLES)]
    return MeanInterval(sum(values) / count, percentile(means, 0.025), percentile(means, 0.975))
