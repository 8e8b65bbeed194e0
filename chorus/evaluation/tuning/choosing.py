"""Which panel to take, and how sure that is: chosen on some folds, reported on others. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.tuning.resampling import Resamples
from chorus.evaluation.tuning.scoring import Scored

_FOLDS: Final = 5
MARGIN: Final = 0.005
"""Half a point: of panels that come as near to the best, the cheapest is taken."""
_Z, _POWER_Z = 1.959964, 0.841621
"""Two-sided 95 %, and a power of 80 %."""
_MOST_ROWS: Final = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a panel may cost for a thousand questions, how long 95 % of its answers may take in
    seconds, and how good it has to be, from 0 to 1."""

    max_cost: float | None = None
    max_p95: float | None = None
    min_quality: float | None = None


@dataclass(frozen=True, slots=True)
class FrontierRow:
    """A panel that nothing cheaper and quicker beats.

    `quality` is what the choice at this price and time gives on questions that it was not made on;
    `seen` its quality on those that it was.
    """

    scored: Scored
    quality: MeanInterval
    seen: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The recommended panel, with its quality on held-out questions.

    `gain`: over the cheapest single model, paired; None where that one is recommended. `second`:
    the next best. `apart`: the difference of the first two. `more`: how many more questions would
    show that difference; None where it is shown already, or where the two answer alike.
    """

    chosen: FrontierRow
    best_single: FrontierRow
    cheapest: Scored
    gain: MeanInterval
    is_gain_shown: bool
    frontier: Sequence[FrontierRow]
    second: Scored | None
    apart: MeanInterval | None
    more: int | None


class Chooser:
    """Chooses among `scored` panels within `bounds`. `by_cost` is whether prices are known; else
    the number of calls stands for the price. `seed` fixes the folds and the bootstrap."""

    def __init__(self, scored: Sequence[Scored], bounds: Bounds, *, by_cost: bool, seed: int) -> None:
        self._by_cost = by_cost
        self._bounds = bounds
        self._all = scored
        self._count = len(scored[0].quality)
        self._resamples = Resamples(self._count, seed)
        self._fold = _folds(self._count, seed)
        self.folds = max(self._fold) + 1
        self._sums = [_fold_sums(one.quality, self._fold, self.folds) for one in scored]
        self._sizes = [self._fold.count(fold) for fold in range(self.folds)]
        self._allowed = [place for place, one in enumerate(scored) if self._is_allowed(one)]

    def price(self, one: Scored) -> float:
        """Return what decides which of two panels is cheaper."""
        return one.cost if self._by_cost and one.cost is not None else one.calls

    def choose(self) -> Choice | None:
        """Return the choice; None where no panel is within the bounds."""
        within = self._good(self._allowed, None)
        if not within:
            return None
        singles = [p for p in within if _is_single(self._all[p])]
        base = self._cheapest(singles or within, None)
        cheapest = self._rule(within, None)
        honest = self._held_out(self._allowed)
        base_honest = self._all[base].quality
        gain = self._resamples.difference(honest, base_honest)
        is_shown = self._resamples.is_above(honest, base_honest)
        chosen = cheapest if is_shown or not singles else base
        if chosen == base:
            row = FrontierRow(self._all[base], self._resamples.mean(base_honest), self._all[base].mean)
        else:
            row = self._row(chosen, honest)
        frontier = self._frontier(within)
        second = self._second(within, chosen)
        mine: Sequence[float] = self._all[chosen].quality
        theirs: Sequence[float] | None = self._all[second].quality if second is not None else None
        if chosen == base != cheapest:  # the two that the gain, on held-out questions, is between
            second, mine, theirs = cheapest, base_honest, honest
        apart = more = None
        if theirs is not None:
            apart = self._resamples.difference(mine, theirs)
            more = questions_more(mine, theirs, apart)
        return Choice(
            row,
            self._best_single(),
            self._all[base],
            gain,
            is_shown,
            frontier,
            self._all[second] if second is not None else None,
            apart,
            more,
        )

    def _is_allowed(self, one: Scored) -> bool:
        bounds = self._bounds
        if bounds.max_cost is not None and (one.cost is None or 1000 * one.cost > bounds.max_cost):
            return False
        return bounds.max_p95 is None or one.p95 <= bounds.max_p95

    def _good(self, places: Sequence[int], without: int | None) -> list[int]:
        """Return those that are good enough on the questions outside of the fold `without`."""
        least = self._bounds.min_quality
        return [place for place in places if least is None or self._mean(place, without) >= least]

    def _mean(self, place: int, without: int | None) -> float:
        sums = self._sums[place]
        if without is None:
            return sum(sums) / self._count
        return (sum(sums) - sums[without]) / (self._count - self._sizes[without])

    def _rule(self, places: Sequence[int], without: int | None) -> int:
        """Return the cheapest of those that come within the margin of the best."""
        means = {place: self._mean(place, without) for place in places}
        best = max(means.values())
        near = [place for place in places if means[place] >= best - MARGIN]
        return min(near, key=lambda place: (self.price(self._all[place]), -means[place], self._all[place].p50, place))

    def _cheapest(self, places: Sequence[int], without: int | None) -> int:
        return min(places, key=lambda place: (self.price(self._all[place]), -self._mean(place, without), place))

    def _held_out(self, places: Sequence[int]) -> list[float]:
        """Return the quality of what the rule chooses on the other folds, for each question."""
        honest = [0.0] * self._count
        for fold in range(self.folds):
            chosen = self._rule(self._good(places, fold) or places, fold)
            for question, mine in enumerate(self._fold):
                if mine == fold:
                    honest[question] = self._all[chosen].quality[question]
        return honest

    def _row(self, place: int, honest: Sequence[float]) -> FrontierRow:
        """Return the row of a panel, with its quality on held-out questions (`honest`).

        The interval begins at the lower end of the held-out quality's. It ends at the higher one of
        both upper ends: the final choice is made on more questions than the folds have.
        """
        held_out, seen = self._resamples.mean(honest), self._resamples.mean(self._all[place].quality)
        interval = MeanInterval(held_out.mean, held_out.low, max(held_out.high, seen.high))
        return FrontierRow(self._all[place], interval, seen.mean)

    def _best_single(self) -> FrontierRow:
        singles = [place for place, one in enumerate(self._all) if _is_single(one)]
        best = max(singles, key=lambda place: (self._mean(place, None), -self.price(self._all[place])))
        honest = [0.0] * self._count
        for fold in range(self.folds):
            chosen = max(singles, key=lambda place: (self._mean(place, fold), -self.price(self._all[place])))
            for question, mine in enumerate(self._fold):
                if mine == fold:
                    honest[question] = self._all[chosen].quality[question]
        return self._row(best, honest)

    def _frontier(self, places: Sequence[int]) -> list[FrontierRow]:
        """Return the panels that no other panel of the same or a lower price and p95 reaches in
        quality, the cheapest first.
        """
        kept: list[int] = []
        for place in sorted(places, key=lambda place: (self.price(self._all[place]), -self._all[place].mean)):
            one = self._all[place]
            # half a point, or a fifth of the time, is a difference that a table shows
            if all(
                self._all[other].mean < one.mean - MARGIN or self._all[other].p95 > 1.25 * one.p95 for other in kept
            ):
                kept.append(place)
        kept = _thinned(kept, self._all)
        rows: list[FrontierRow] = []
        for place in kept:
            most, longest = self.price(self._all[place]), self._all[place].p95
            within = [p for p in places if self.price(self._all[p]) <= most and self._all[p].p95 <= longest]
            row = self._row(place, self._best_held_out(within))
            if all(
                cheaper.quality.mean < row.quality.mean - MARGIN or cheaper.scored.p95 > 1.25 * row.scored.p95
                for cheaper in rows
            ):
                rows.append(row)
        return rows

    def _best_held_out(self, places: Sequence[int]) -> list[float]:
        honest = [0.0] * self._count
        for fold in range(self.folds):
            chosen = max(places, key=lambda place: (self._mean(place, fold), -self.price(self._all[place])))
            for question, mine in enumerate(self._fold):
                if mine == fold:
                    honest[question] = self._all[chosen].quality[question]
        return honest

    def _second(self, places: Sequence[int], chosen: int) -> int | None:
        """Return the best of those that answer some question differently from the chosen one."""
        mine = self._all[chosen].quality
        others = [place for place in places if place != chosen and self._all[place].quality != mine]
        return max(others, key=lambda place: (self._mean(place, None), -self.price(self._all[place])), default=None)


def questions_more(mine: Sequence[float], theirs: Sequence[float], apart: MeanInterval) -> int | None:
    """Return how many more questions would show the difference of two panels, in four of five
    evaluations, if they differ as much as here; None where it is shown already or never would
    be."""
    if apart.low > 0 or apart.high < 0 or apart.mean == 0:
        return None
    differences = [a - b for a, b in zip(mine, theirs, strict=True)]
    count = len(differences)
    variance = sum((value - apart.mean) ** 2 for value in differences) / max(count - 1, 1)
    needed = math.ceil((_Z + _POWER_Z) ** 2 * variance / apart.mean**2)
    return max(needed - count, 1)


def _thinned(places: Sequence[int], scored: Sequence[Scored]) -> list[int]:
    """Return at most as many as a table shows: those whose quality adds most to the one before."""
    kept = list(places)
    while len(kept) > _MOST_ROWS:
        steps = [abs(scored[b].mean - scored[a].mean) for a, b in pairwise(kept)]
        del kept[1 + min(range(len(steps) - 1), key=steps.__getitem__)]
    return kept


def _is_single(one: Scored) -> bool:
    return one.panel is not None and one.panel.is_single


def _folds(count: int, seed: int) -> list[int]:
    folds = min(_FOLDS, count)
    numbers = [place % folds for place in range(count)]
    Random(seed).shuffle(numbers)
    return numbers


def _fold_sums(quality: Sequence[float], fold: Sequence[int], folds: int) -> list[float]:
    sums = [0.0] * folds
    for value, number in zip(quality, fold, strict=True):
        sums[number] += value
    return sums
