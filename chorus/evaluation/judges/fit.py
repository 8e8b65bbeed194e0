"""Effects on a judge's verdicts, with intervals that hold for answers to the same question. Pure.

Rows are verdicts. Two verdicts on answers to one question are not independent, so intervals come
from the jackknife that leaves out one question at a time (Efron, 1982; for regression with groups
Bell and McCaffrey, "Bias Reduction in Standard Errors for Linear Regression with Multi-Stage
Samples", 2002), with Student's t for the number of questions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from chorus.evaluation.newton import Matrix, Vector, maximum, solved, unit
from chorus.evaluation.statistics import MeanInterval, mean_of, percentile

UNKNOWN: Final = MeanInterval(math.nan, math.nan, math.nan)
_Z: Final = 1.959964
_RESAMPLES: Final = 2000
_PRIOR: Final = 0.04
"""Precision of the prior of each effect on the choice, a normal one around 0 with a standard
deviation of 5 logits: it matters only where an effect is without limit, as of a judge that is
always right."""


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict: the `group` (the question) that it is of, the `terms` that may have moved it,
    and where it went, as a number."""

    group: Hashable
    terms: tuple[float, ...]
    outcome: float


def linear(rows: Sequence[Row]) -> list[MeanInterval]:
    """Return the effect of each term on the outcome, by least squares; NaN where the rows do
    not separate it from others."""
    return _fitted(rows, is_choice=False)


def logistic(rows: Sequence[Row]) -> list[MeanInterval]:
    """Return the effect of each term on the log odds of an outcome that is 0 or 1, by maximum
    likelihood with a weak prior; NaN where the rows do not separate it from others."""
    return _fitted(rows, is_choice=True)


def share(estimate: MeanInterval) -> MeanInterval:
    """Return the share, from 0 to 1, that log odds stand for."""
    return MeanInterval(*(_logistic(value) for value in (estimate.mean, estimate.low, estimate.high)))


def grouped_mean(values: Sequence[tuple[Hashable, float]], seed: int) -> MeanInterval:
    """Return the mean of values from 0 to 1, each with its group: Wilson's interval where all are 0
    or 1 and every group has one value, or all have the same; else the bootstrap's over groups.
    """
    groups: dict[Hashable, list[float]] = {}
    for group, value in values:
        groups.setdefault(group, []).append(value)
    alone = [value for _, value in values]
    if len(set(alone)) == 1:
        return mean_of(alone[:1] * len(groups), seed)
    if not alone or len(groups) == len(alone):
        return mean_of(alone, seed)
    sums = [(sum(mine), len(mine)) for mine in groups.values()]
    rng, means = Random(seed), []
    for _ in range(_RESAMPLES):
        drawn = rng.choices(sums, k=len(sums))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    return MeanInterval(sum(alone) / len(alone), percentile(means, 0.025), percentile(means, 0.975))


def _fitted(rows: Sequence[Row], *, is_choice: bool) -> list[MeanInterval]:
    """Return the effect of each term. One that is 0 in all rows is left out of the fit: NaN."""
    count = len(rows[0].terms) if rows else 0
    used = [term for term in range(count) if any(row.terms[term] for row in rows)]
    effects = [UNKNOWN] * count
    if len(rows) <= len(used):
        return effects
    kept = [Row(row.group, tuple(row.terms[term] for term in used), row.outcome) for row in rows]
    maximum = _maximum(kept, len(used), is_choice=is_choice)
    if maximum is not None:
        widths = _half_widths(kept, maximum, is_choice=is_choice)
        for term, effect, half in zip(used, maximum, widths, strict=True):
            effects[term] = MeanInterval(effect, effect - half, effect + half)
    return effects


def _maximum(rows: Sequence[Row], size: int, *, is_choice: bool) -> Vector | None:
    """Return the effects, by Newton's steps, of which least squares need one.

    None where the rows do not separate terms.
    """
    if not is_choice:
        slope, curve = _score(rows, [0.0] * size, is_choice=False)
        return solved(curve, slope)

    def derivatives(effects: Vector) -> tuple[Vector, Matrix]:
        slope, curve = _score(rows, effects, is_choice=True)
        return [one - _PRIOR * effect for one, effect in zip(slope, effects, strict=True)], _with_prior(curve)

    return maximum(derivatives, [0.0] * size)


def _half_widths(rows: Sequence[Row], effects: Vector, *, is_choice: bool) -> Vector:
    """Return half the width of each interval of 95 %, by the jackknife over groups.

    For a choice the curvature gives the smallest width: a judge that always decides alike leaves
    the jackknife nothing to vary.
    """
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    count, size = len(groups), len(effects)
    if count < 3:
        return [math.inf] * size
    _, curve = _score(rows, effects, is_choice=is_choice)
    whole = _with_prior(curve) if is_choice else curve
    changes: list[Vector] = []
    for mine in groups.values():
        slope, own = _score(mine, effects, is_choice=is_choice)
        rest = [[a - b for a, b in zip(left, right, strict=True)] for left, right in zip(whole, own, strict=True)]
        change = solved(rest, slope)
        if change is None:
            return [math.inf] * size
        changes.append(change)
    half = []
    for term in range(size):
        middle = sum(change[term] for change in changes) / count
        variance = (count - 1) / count * sum((change[term] - middle) ** 2 for change in changes)
        if is_choice:
            column = solved(whole, unit(size, term))
            variance = max(variance, column[term] if column is not None else math.inf)
        half.append(_student(count - 1) * math.sqrt(variance))
    return half


def _score(rows: Sequence[Row], effects: Vector, *, is_choice: bool) -> tuple[Vector, Matrix]:
    """Return the slope and the negative curvature of the log likelihood at `effects`."""
    size = len(effects)
    slope, curve = [0.0] * size, [[0.0] * size for _ in range(size)]
    for row in rows:
        expected = sum(effect * term for effect, term in zip(effects, row.terms, strict=True))
        weight = 1.0
        if is_choice:
            expected = _logistic(expected)
            weight = expected * (1.0 - expected)
        for place, term in enumerate(row.terms):
            if term:
                slope[place] += term * (row.outcome - expected)
                line, weighted = curve[place], weight * term
                for other in range(size):
                    line[other] += weighted * row.terms[other]
    return slope, curve


def _with_prior(curve: Matrix) -> Matrix:
    return [[value + _PRIOR * (row == column) for column, value in enumerate(line)] for row, line in enumerate(curve)]


def _logistic(value: float) -> float:
    """1 / (1 + e^-x), without overflow; NaN of NaN."""
    if value < 0:
        return math.exp(value) / (1.0 + math.exp(value))
    return 1.0 / (1.0 + math.exp(-value))


def _student(freedom: int) -> float:
    """Return the quantile at 97.5 % of Student's t with `freedom` degrees (Cornish and Fisher's
    expansion; Abramowitz and Stegun, 26.7.5), to 1 % from 4 degrees on.
    """
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / math.pow(freedom, power + 1) for power, term in enumerate(terms))
