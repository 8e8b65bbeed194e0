"""The paired bootstrap: every panel is looked at on the same draws of questions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from chorus.evaluation.statistics import MeanInterval, mean_of, percentile

_RESAMPLES: Final = 1000


class Resamples:
    """Draws of `count` questions out of as many, which `seed` fixes."""

    def __init__(self, count: int, seed: int) -> None:
        rng, places = Random(seed), range(count)
        self._drawn = [rng.choices(places, k=count) for _ in range(_RESAMPLES)]

    def mean(self, scores: Sequence[float]) -> MeanInterval:
        """Return the mean of scores from 0 to 1, with its interval of 95 %: Wilson's where all are
        0 or 1, which holds for few and for extreme ones.
        """
        if all(score in (0.0, 1.0) for score in scores):
            return mean_of(scores)
        return self._interval(scores)

    def difference(self, mine: Sequence[float], theirs: Sequence[float]) -> MeanInterval:
        """Return how much better `mine` are, question by question."""
        return self._interval([a - b for a, b in zip(mine, theirs, strict=True)])

    def is_above(self, mine: Sequence[float], theirs: Sequence[float]) -> bool:
        """Return whether `mine` are better than `theirs` in 95 % of the draws."""
        return percentile(self._means([a - b for a, b in zip(mine, theirs, strict=True)]), 0.05) > 0.0

    def _interval(self, values: Sequence[float]) -> MeanInterval:
        means = self._means(values)
        return MeanInterval(sum(values) / len(values), percentile(means, 0.025), percentile(means, 0.975))

    def _means(self, values: Sequence[float]) -> list[float]:
        count, at = len(values), values.__getitem__
        return [sum(map(at, drawn)) / count for drawn in self._drawn]
