"""Estimates against known figures, and where there is nothing to estimate."""

from __future__ import annotations

import dataclasses
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.evaluation.judges.fit import Row, grouped_mean, linear, logistic, share
from chorus.evaluation.statistics import mean_of


def test_least_squares_find_an_exact_line() -> None:
    rows = [Row(x, (1.0, float(x)), 2.0 + 3.0 * x) for x in range(6)]
    constant, slope = linear(rows)
    assert constant.mean == pytest.approx(2)
    assert (slope.low, slope.mean, slope.high) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))


def test_the_interval_of_a_mean_is_students() -> None:
    """With the constant alone, the jackknife is the textbook's standard error of a mean: here 1/2,
    with 3 degrees.
    """
    [mean] = linear([Row(number, (1.0,), value) for number, value in enumerate((0.0, 2.0, 2.0, 0.0))])
    assert mean.mean == 1
    assert mean.high - mean.mean == pytest.approx(3.182 * math.sqrt(4 / 3 / 4), rel=0.01)


def test_a_share_is_the_maximum_likelihoods() -> None:
    rows = [Row(number, (1.0,), float(number % 4 == 0)) for number in range(400)]
    [found] = map(share, logistic(rows))
    assert found.mean == pytest.approx(0.25, abs=0.002)
    assert found.low == pytest.approx(mean_of([row.outcome for row in rows]).low, abs=0.005)


def test_repeating_what_a_question_says_makes_nothing_surer() -> None:
    rng = Random(1)
    once = [Row(number, (1.0,), float(rng.random() < 0.6)) for number in range(60)]
    [alone] = logistic(once)
    [often] = logistic([row for row in once for _ in range(10)])
    assert often.high - often.low == pytest.approx(alone.high - alone.low, rel=0.1)


@given(st.integers(2, 40))
def test_a_judge_who_always_decides_alike_has_a_finite_effect_and_a_wide_interval(count: int) -> None:
    rows = [Row(n, (1.0, sign), float(sign > 0)) for n in range(count) for sign in (1.0, -1.0)]
    constant, effect = logistic(rows)
    assert constant.mean == pytest.approx(0, abs=1e-6)
    assert 0 < effect.mean < 20
    assert effect.high - effect.low > 1


def test_what_cannot_be_told_is_not_a_number() -> None:
    assert linear([]) == []
    zero = linear([Row(number, (1.0, 0.0), 1.0) for number in range(5)])
    assert zero[0].mean == 1
    assert math.isnan(zero[1].mean)
    assert all(math.isnan(one) for one in dataclasses.astuple(share(zero[1])))
    twins = linear([Row(number, (float(number), 2.0 * number), 1.0) for number in range(5)])
    assert all(math.isnan(effect.mean) for effect in twins)
    two_groups = linear([Row(number % 2, (1.0,), float(number)) for number in range(8)])
    assert (two_groups[0].mean, two_groups[0].low) == (3.5, -math.inf)
    assert share(two_groups[0]).low == 0


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30))
def test_of_one_value_a_question_the_mean_is_as_everywhere(values: list[float]) -> None:
    assert grouped_mean(list(enumerate(values)), 0) == mean_of(values)


def test_pairs_of_one_question_count_less_than_those_of_many() -> None:
    values = [1.0] * 20 + [0.0] * 20
    few = grouped_mean([(number // 10, value) for number, value in enumerate(values)], 0)
    many = grouped_mean([(number // 2, value) for number, value in enumerate(values)], 0)
    assert few.mean == many.mean == 0.5
    assert few.high - few.low > many.high - many.low
    assert grouped_mean([(0, 1.0)] * 9, 0) == mean_of([1.0])
    assert math.isnan(grouped_mean([], 0).mean)
