"""Which new verdicts are worth their calls: successive halving (Karnin, Koren and Somekh, ICML
2013; Jamieson and Talwalkar, arXiv 1502.07943). Pure: it says what to ask, the caller asks.

The panels with a judge that are best so far share the calls of a round; then the worse half of them
leaves. A verdict is worth a call where right and wrong candidates stand side by side, no agreement
spares the judge, and none is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from chorus.evaluation.tuning.evidence import Shown, Verdict
from chorus.evaluation.tuning.judges import Judges
from chorus.evaluation.tuning.panels import Panel
from chorus.evaluation.tuning.scoring import Scored, Scorer
from chorus.evaluation.tuning.search import Search

_FIELD: Final = 16


@dataclass(frozen=True, slots=True)
class Comparison:
    """One call: `judge` sees the candidates `shown`, in this order, for a question by its place."""

    question: int
    judge: str
    shown: tuple[Shown, ...]


class Race:
    """Spends at most `calls`. Ask what `wanted` returns, `take` what came, until nothing is
    wanted."""

    def __init__(self, search: Search, calls: int) -> None:
        self._search = search
        self._left = calls
        self._rng = Random(search.seed)
        self.verdicts: list[Verdict] = []
        self._panels = self._field(search.scored(self._scorer()))
        self._rounds = max(math.ceil(math.log2(len(self._panels))), 1) if self._panels else 0
        self.asked = 0
        self._known: set[_Key] = set()

    def wanted(self) -> list[Comparison]:
        """Return the calls of the next round; none when the race is over."""
        if not self._rounds or self._left <= 0:
            return []
        share = max(self._left // self._rounds, 1)
        scorer = self._scorer()
        needs = [_needs(scorer, panel, self._rng) for panel in self._panels]
        wanted: dict[_Key, Comparison] = {}
        while needs and len(wanted) < share:
            for need in list(needs):
                comparison = next(need, None)
                if comparison is None:
                    needs.remove(need)
                elif len(wanted) < share and (key := _key(comparison)) not in self._known:
                    wanted[key] = comparison
        self._known |= wanted.keys()
        self._left -= len(wanted)
        self.asked += len(wanted)
        return list(wanted.values())

    def take(self, verdicts: Sequence[Verdict]) -> None:
        """Add the verdicts of a round, and drop the worse half of the panels."""
        self.verdicts += verdicts
        self._rounds -= 1
        scorer = self._scorer()
        ranked = sorted(self._panels, key=lambda panel: -scorer.score(panel).mean)
        self._panels = ranked[: max((len(ranked) + 1) // 2, 2)]

    def _scorer(self) -> Scorer:
        judges = Judges([*self._search.evidence.verdicts, *self.verdicts])
        return Scorer(self._search.evidence, judges, self._search.seed)

    def _field(self, scored: Sequence[Scored]) -> list[Panel]:
        """Return the best panels with a judge, within the bounds of cost and time.

        One of each set of workers first, so that the calls tell of more than one.
        """
        bounds = self._search.bounds
        allowed = [
            one
            for one in scored
            if one.panel is not None
            and one.panel.judge is not None
            and (bounds.max_p95 is None or one.p95 <= bounds.max_p95)
            and (bounds.max_cost is None or (one.cost is not None and 1000 * one.cost <= bounds.max_cost))
        ]
        field: dict[object, Panel] = {}
        for one in sorted(allowed, key=lambda one: (-one.mean, one.calls)):
            panel = one.panel
            assert panel is not None
            field.setdefault((panel.seats, panel.judge), panel)
            if len(field) == _FIELD:
                break
        return list(field.values())


_Key = tuple[int, str, tuple[str, ...]]


def _key(comparison: Comparison) -> _Key:
    """Return what a judge sees are texts: two models that say the same are asked about once.

    A verdict that could not be read is not asked for again.
    """
    return comparison.question, comparison.judge, tuple(one.text for one in comparison.shown)


def _needs(scorer: Scorer, panel: Panel, rng: Random) -> Iterator[Comparison]:
    """Yield the verdicts that `panel` lacks, in a drawn order of the questions.

    The second pass has the reverse order of the first.
    """
    assert panel.judge is not None
    cases = [case for case in scorer.cases(panel) if case.turn == 0]
    rng.shuffle(cases)
    for case in cases:
        shown = case.shown
        if case.replayed.agreed is not None or len({candidate.score for candidate in shown}) < 2:
            continue
        if scorer.goes_direct(panel, case.question) is not None:
            continue
        missing = panel.passes - len(scorer.judges.stored(case.question, panel.judge, shown))
        drawn = sorted(shown, key=lambda candidate: candidate.text)
        Random(f"{scorer.evidence.ids[case.question]} {panel.judge}").shuffle(drawn)
        for number in range(max(missing, 0)):
            step = (number // 2) * len(drawn) // panel.passes
            order = drawn[step:] + drawn[:step]
            yield Comparison(case.question, panel.judge, tuple(order[::-1] if number % 2 else order))
