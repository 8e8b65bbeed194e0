"""All panels on all questions: first those without routing and writers, then the best of them with.
Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.tuning.choosing import Bounds, Choice, Chooser, FrontierRow
from chorus.evaluation.tuning.evidence import Evidence, Variant, Verdict
from chorus.evaluation.tuning.judges import Judges
from chorus.evaluation.tuning.panels import Panel, listed, routed, written
from chorus.evaluation.tuning.scoring import Scored, Scorer

_MOST_REPLAYS: Final = 600_000
_FEWEST_PANELS: Final = 200
_EXTENDED: Final = 20
"""How many of the best panels are tried with routing and with a writer."""
_DRAWS: Final = 20
"""Draws of a judge's effects, for what its uncertainty adds to an interval."""
_Z: Final = 1.959964

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The panels that were compared, of `possible` ones, and the choice among them; `choice` is
    None where none is within the bounds."""

    scored: Sequence[Scored]
    possible: int
    choice: Choice | None
    judges: Judges


class Search:
    """The search over the panels that `evidence` allows, the same for the same `seed`."""

    def __init__(self, evidence: Evidence, bounds: Bounds, seed: int = 0) -> None:
        self.evidence = evidence
        self.bounds = bounds
        self.seed = seed
        variants = sorted(evidence.answers)
        judges = sorted({verdict.judge for verdict in evidence.verdicts})
        deepest = {variant: max(map(len, evidence.answers[variant])) for variant in variants}
        turns = min(max(deepest.values()), 4)
        most = max(_MOST_REPLAYS // (len(evidence.ids) * turns), _FEWEST_PANELS)
        self.panels, self.possible = listed(variants, _asked_often(evidence, deepest), judges, most=most, seed=seed)

    def run(self, verdicts: Sequence[Verdict] = (), tick: Tick = lambda: None) -> SearchResult:
        """Score and choose; `verdicts` are new ones beside those of the evidence. `tick` is called
        for each panel."""
        judges = Judges([*self.evidence.verdicts, *verdicts])
        scorer = Scorer(self.evidence, judges, self.seed)
        scored = self.scored(scorer, tick)
        more = [panel for one in self._best(scored) for panel in self._extended(one)]
        scored += [scorer.score(panel) for panel in dict.fromkeys(more)]
        chooser = Chooser(scored, self.bounds, by_cost=self.evidence.is_priced, seed=self.seed)
        choice = chooser.choose()
        if choice is not None:
            choice = self._with_judge_errors(choice, judges)
        return SearchResult(scored, self.possible + len(dict.fromkeys(more)), choice, judges)

    def scored(self, scorer: Scorer, tick: Tick = lambda: None) -> list[Scored]:
        """Return the panels without routing and writers, scored."""
        scored = []
        for panel in self.panels:
            scored.append(scorer.score(panel))
            tick()
        return scored

    def _best(self, scored: Sequence[Scored]) -> list[Panel]:
        bounds = self.bounds
        several = [
            one
            for one in scored
            if one.panel is not None
            and not one.panel.is_single
            and (bounds.max_cost is None or (one.cost is not None and 1000 * one.cost <= 2 * bounds.max_cost))
        ]
        best = sorted(several, key=lambda one: (-one.mean, one.calls))[:_EXTENDED]
        return [one.panel for one in best if one.panel is not None]

    def _extended(self, panel: Panel) -> list[Panel]:
        panels: list[Panel] = []
        for analyzer in sorted(self.evidence.analyses):
            for variant in sorted(self.evidence.answers):
                panels += routed(panel, analyzer, variant)
        for writer in sorted({merge.writer for merge in self.evidence.merges}):
            panels += written(panel, writer)
        return panels

    def _with_judge_errors(self, choice: Choice, judges: Judges) -> Choice:
        """Return the choice with intervals that are wider by what is not known of the judges."""
        rows = [choice.chosen, *choice.frontier]
        panels = [row.scored.panel for row in rows if row.scored.modelled and row.scored.panel is not None]
        if not panels:
            return choice
        spread = self._spread(list(dict.fromkeys(panels)), judges)
        widened = [_widened(row, spread.get(row.scored.panel, 0.0)) for row in rows]
        return replace(choice, chosen=widened[0], frontier=widened[1:])

    def _spread(self, panels: Sequence[Panel], judges: Judges) -> dict[Panel | None, float]:
        """Return the standard deviation of each panel's quality over draws of the judges'
        effects.
        """
        rng = Random(self.seed)
        fitted = dict(judges.models)
        draws = [
            {judge: model.with_effects(_draw(model.effects, model.covariance, rng)) for judge, model in fitted.items()}
            for _ in range(_DRAWS)
        ]
        scorer = Scorer(self.evidence, judges, self.seed)
        means: dict[Panel | None, list[float]] = {panel: [] for panel in panels}
        for panel in panels:
            for drawn in draws:
                for judge, model in drawn.items():
                    judges.replace_model(judge, model)
                means[panel].append(scorer.score(panel).mean)
        for judge, model in fitted.items():
            judges.replace_model(judge, model)
        return {panel: _deviation(values) for panel, values in means.items()}


def _asked_often(evidence: Evidence, deepest: dict[Variant, int]) -> dict[Variant, int]:
    """Return how many samples of each variant a panel may have: as many as are stored of some
    question, where a third of the questions has two at least.
    """
    often = {}
    for variant, most in deepest.items():
        several = sum(len(row) > 1 for row in evidence.answers[variant])
        often[variant] = most if 3 * several >= len(evidence.ids) else 1
    return often


def _widened(row: FrontierRow, deviation: float) -> FrontierRow:
    quality = row.quality
    low = quality.mean - math.hypot(quality.mean - quality.low, _Z * deviation)
    high = quality.mean + math.hypot(quality.high - quality.mean, _Z * deviation)
    return replace(row, quality=MeanInterval(quality.mean, max(low, 0.0), min(high, 1.0)))


def _draw(effects: Sequence[float], covariance: Sequence[Sequence[float]], rng: Random) -> list[float]:
    """Return a draw of the normal distribution with these means and this covariance, by Cholesky's
    factor."""
    size = len(effects)
    factor = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = covariance[i][j] - sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = math.sqrt(max(rest, 0.0)) if i == j else rest / factor[j][j] if factor[j][j] else 0.0
    normal = [rng.gauss(0.0, 1.0) for _ in range(size)]
    return [effects[i] + sum(factor[i][k] * normal[k] for k in range(i + 1)) for i in range(size)]


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
