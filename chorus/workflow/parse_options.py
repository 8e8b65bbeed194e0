"""The options of a workflow node that shorten or deepen its work, read from JSON (W6, W7)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from chorus.types import DIFFICULTIES, Difficulty
from chorus.wirejson import JSON
from chorus.workflow.plan import Agreement, Compare, Hedge, Leaf, Node, Quorum, Refine, Samples

OPTIONS = ("quorum", "agreement", "hedge", "difficulty", "refine", "decisive")
"""The keys of a flow that are read here."""
JUDGING = ("passes", "length_control", "length_effect")
"""The keys of a selector that say how it judges."""

MAX_PASSES = 12
LENGTH_EFFECT: Final = 0.3
"""Points for each doubling of the length that `length_control` takes out by default.

A measured `length_effect` replaces it.
"""
_MAX_LENGTH_EFFECT: Final = 5.0
"""Scores are from 0 to 10: a doubling that is worth more than half of that is a mistake."""
_MAX_LAYERS = 4

Wrong = Callable[[str, str], None]
"""Called with the place of a problem and what it is."""
ReadLeaf = Callable[[JSON, str], Leaf | None]


class Options:
    """Reads the options of one flow; what is wrong goes to `wrong` with its place."""

    def __init__(self, tree: Mapping[str, JSON], place: str, wrong: Wrong) -> None:
        self._tree = tree
        self._place = place
        self._wrong = wrong

    def quorum(self, workers: int) -> Quorum | None:
        """`{"min": candidates, "grace_secs": seconds}`."""
        table = self._table("quorum", ("min", "grace_secs"))
        if table is None:
            return None
        least = self._whole(table, "quorum.min", 1, workers, None)
        grace = self._number(table, "quorum.grace_secs", 0, math.inf, 0.0)
        return Quorum(least, grace) if least is not None and grace is not None else None

    def agreement(self, workers: int) -> Agreement | None:
        """`{"threshold": candidates or a share of the workers, "compare": how}`."""
        table = self._table("agreement", ("threshold", "compare"))
        if table is None:
            return None
        threshold = table.get("threshold")
        place = f"{self._place}.agreement.threshold"
        compare = self._compare(table, "agreement.compare")
        if isinstance(threshold, float) and 0 < threshold <= 1:
            threshold = max(2, math.ceil(threshold * workers - 1e-9))
        if isinstance(threshold, bool) or not isinstance(threshold, int) or not 2 <= threshold <= workers:
            wanted = f"a number of candidates from 2 to {workers}, or a share such as 0.6"
            self._wrong(place, f"expected {wanted}, found {describe(table.get('threshold'))}")
            return None
        return Agreement(threshold, compare) if compare is not None else None

    def hedge(self, leaf: ReadLeaf) -> Hedge | None:
        """`{"after_secs": seconds, "to": leaf, "max": times}`."""
        table = self._table("hedge", ("after_secs", "to", "max"))
        if table is None:
            return None
        after = self._number(table, "hedge.after_secs", 0, math.inf, None)
        most = self._whole(table, "hedge.max", 1, 64, 1)
        to = leaf(table["to"], f"{self._place}.hedge.to") if table.get("to") is not None else None
        return Hedge(after, to, most) if after is not None and most is not None else None

    def difficulty(self, leaf: ReadLeaf, *, has_analyzer: bool) -> tuple[tuple[Difficulty, Leaf], ...]:
        """`{"easy": leaf, ...}`: the model that answers such a request alone."""
        table = self._table("difficulty", DIFFICULTIES)
        if table is None:
            return ()
        if not has_analyzer:
            self._wrong(f"{self._place}.difficulty", "needs an `analyzer`, which says how difficult a request is")
        read = ((name, leaf(table[name], f"{self._place}.difficulty.{name}")) for name in DIFFICULTIES if name in table)
        return tuple((name, direct) for name, direct in read if direct is not None)

    def refine(self, workers: Callable[[JSON, str], Sequence[Node]]) -> Refine | None:
        """`{"layers": n, "workers": [node, ...]}`."""
        table = self._table("refine", ("layers", "workers"))
        if table is None:
            return None
        layers = self._whole(table, "refine.layers", 2, _MAX_LAYERS, 2)
        own = tuple(workers(table["workers"], f"{self._place}.refine.workers")) if "workers" in table else ()
        return Refine(layers, own) if layers is not None else None

    def decisive(self, *, has_selector_and_synthesizer: bool) -> bool:
        """`true`: a decisive verdict skips the synthesizer."""
        value = self._tree.get("decisive", False)
        place = f"{self._place}.decisive"
        if not isinstance(value, bool):
            self._wrong(place, f"expected true or false, found {describe(value)}")
        elif value and not has_selector_and_synthesizer:
            self._wrong(place, "needs a `selector` and a `synthesizer`, which a decisive verdict makes unnecessary")
        return value is True

    def _table(self, key: str, known: Sequence[str]) -> Mapping[str, JSON] | None:
        value = self._tree.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self._wrong(f"{self._place}.{key}", f"expected an object with {', '.join(known)}, found {describe(value)}")
            return None
        for name in value:
            if name not in known:
                self._wrong(f"{self._place}.{key}.{name}", f"unknown key; known keys: {', '.join(known)}")
        return value

    def _compare(self, table: Mapping[str, JSON], where: str) -> Compare | None:
        return compare(table, f"{self._place}.{where}", self._wrong)

    def _whole(self, table: Mapping[str, JSON], where: str, low: int, high: int, default: int | None) -> int | None:
        value = table.get(where.rpartition(".")[2], default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            text = f"expected a whole number from {low} to {high}, found {describe(value)}"
            self._wrong(f"{self._place}.{where}", text)
            return None
        return value

    def _number(
        self, table: Mapping[str, JSON], where: str, low: float, high: float, default: float | None
    ) -> float | None:
        value = table.get(where.rpartition(".")[2], default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
            self._wrong(f"{self._place}.{where}", f"expected a number of seconds from {low}, found {describe(value)}")
            return None
        return float(value)


@dataclass(frozen=True, slots=True)
class Judging:
    """How a selector judges: see `Flow`."""

    passes: int = 1
    length_effect: float | None = None


def judging(table: Mapping[str, JSON], place: str, wrong: Wrong) -> Judging:
    """Return how the selector of this table judges."""
    return Judging(
        passes(table.get("passes", 1), f"{place}.passes", wrong),
        _length_effect(table, place, wrong),
    )


def _length_effect(table: Mapping[str, JSON], place: str, wrong: Wrong) -> float | None:
    """Return the effect of length that is taken out of the scores.

    None where `length_control` is off.
    """
    is_on = table.get("length_control", False)
    effect = table.get("length_effect", LENGTH_EFFECT)
    if not isinstance(is_on, bool):
        wrong(f"{place}.length_control", f"expected true or false, found {describe(is_on)}")
        return None
    is_number = isinstance(effect, int | float) and not isinstance(effect, bool)
    if not is_number or not -_MAX_LENGTH_EFFECT <= effect <= _MAX_LENGTH_EFFECT:
        wanted = f"a number of points from {-_MAX_LENGTH_EFFECT:g} to {_MAX_LENGTH_EFFECT:g}"
        wrong(f"{place}.length_effect", f"expected {wanted}, found {describe(effect)}")
        return None
    if "length_effect" in table and "length_control" not in table:
        wrong(f"{place}.length_effect", "needs `length_control = true`, which takes it out of the scores")
    return float(effect) if is_on else None


def passes(value: JSON, place: str, wrong: Wrong) -> int:
    """Return how often a selector is asked."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PASSES:
        wrong(place, f"expected a whole number from 1 to {MAX_PASSES}, found {describe(value)}")
        return 1
    return value


def samples(value: JSON, place: str, wrong: Wrong) -> tuple[int, Samples]:
    """Return how often a leaf is asked at most, and when that is enough.

    `value` is a number, or `{"max", "confidence", "compare"}`.
    """
    table = value if isinstance(value, Mapping) else {"max": value}
    for name in table:
        if name not in ("max", "confidence", "compare"):
            wrong(f"{place}.{name}", "unknown key; known keys: max, confidence, compare")
    most = table.get("max")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        wrong(place, f"expected a positive integer, found {describe(most)}")
        most = 1
    confidence = table.get("confidence", 0.95)
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.5 < confidence < 1:
        wrong(f"{place}.confidence", f"expected a number between 0.5 and 1, found {describe(confidence)}")
        confidence = 0.95
    how = compare(table, f"{place}.compare", wrong)
    return most, Samples(place, float(confidence), how or "normalised")


def compare(table: Mapping[str, JSON], place: str, wrong: Wrong) -> Compare | None:
    """Return how answers are compared."""
    value = table.get("compare", "normalised")
    if value not in get_args(Compare):
        wrong(place, f"expected one of {', '.join(get_args(Compare))}, found {describe(value)}")
        return None
    how: Compare = value
    return how


def describe(value: JSON) -> str:
    """Return a value as a message shows it: short, and by its kind where it is large."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
