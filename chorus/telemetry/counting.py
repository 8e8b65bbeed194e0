"""Counting by the values of prometheus-client's metrics, found once for their labels.

Above: `metrics`. The library's own methods look at each call whether the metric can be counted,
and a histogram compares with one bound after the other: with fifteen values that were 3 % of a
relayed request. tests/contract holds what is used of the library.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cache

from prometheus_client import Counter, Histogram

Count = Callable[[float], None]
"""Adds so much, which is not negative, to a counter; or one observation to a histogram."""


def counting(counter: Counter) -> Callable[..., Count]:
    """Return what finds the count of labels."""

    @cache
    def count_of(*labels: str) -> Count:
        add: Count = counter.labels(*labels)._value.inc
        return add

    return count_of


def observing(histogram: Histogram) -> Callable[..., Count]:
    """Return what finds the observations of labels."""

    @cache
    def observations_of(*labels: str) -> Count:
        child = histogram.labels(*labels)
        add, bounds = child._sum.inc, child._upper_bounds
        buckets = [bucket.inc for bucket in child._buckets]  # the last one has no bound

        def observe(value: float) -> None:
            add(value)
            buckets[bisect_left(bounds, value)](1)

        return observe

    return observations_of
