"""What tune recommends in worlds whose truth is known."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from chorus.evaluation.tuning.choosing import Bounds, Choice
from chorus.evaluation.tuning.panels import Panel
from chorus.evaluation.tuning.race import Race
from chorus.evaluation.tuning.scoring import Scored, Scorer
from chorus.evaluation.tuning.search import Search
from tests.evaluation.tuning.simulation import Judge, TrueJudges, Worker, World

FOUR = World(
    (
        Worker("a", (1.0, 0.2, 0.0), 1.0, 0.001),
        Worker("b", (0.0, 1.1, 0.1), 1.5, 0.002),
        Worker("c", (0.3, 0.0, 1.2), 2.0, 0.003),
        Worker("judge", (0.5, 0.4, 0.4), 1.2, 0.002),
    ),
    Judge(first=1.5, own=0.7, length=-0.01),
)
THREE = World(FOUR.workers[:3], Judge(first=1.0, length=0.02))
ALIKE = World(
    tuple(Worker(name, (0.6,) * 3, 1.0, cost) for name, cost in (("a", 0.001), ("b", 0.002), ("c", 0.003))), shared=1.0
)


@cache
def truth(world: World, questions: int) -> dict[Panel, Scored]:
    """What each panel gives with the judge itself, on questions that no evaluation asks."""
    evidence = world.evidence(questions, -1)
    scorer = Scorer(evidence, TrueJudges(world, evidence))
    return {panel: scorer.score(panel) for panel in Search(evidence, Bounds()).panels}


def tuned(
    world: World, questions: int, seed: int, *, bounds: Bounds | None = None, calls: int = 0
) -> tuple[Choice, int]:
    """The choice from one evaluation, and the calls that it took: those of the evaluation, too."""
    evidence = world.evidence(questions, seed)
    search = Search(evidence, bounds or Bounds(), seed)
    race, rng = Race(search, calls), Random(seed)
    while wanted := race.wanted():
        race.take([world.verdict(evidence, one, rng) for one in wanted])
    choice = search.run(race.verdicts).choice
    assert choice is not None
    assert race.asked <= calls
    return choice, questions * (2 * len(world.workers) + 1) + race.asked


def regret(world: World, choice: Choice, bounds: Bounds, questions: int) -> float:
    """How much worse the chosen panel truly is than the best one within the same bounds."""
    known = truth(world, questions)
    allowed = [one for one in known.values() if one.cost is not None and 1000 * one.cost <= (bounds.max_cost or 1e9)]
    panel = choice.chosen.scored.panel
    assert panel is not None
    return max(one.mean for one in allowed) - known[panel].mean


def test_the_recommended_panel_is_nearly_the_best_one() -> None:
    choice, calls = tuned(THREE, 300, 1, calls=60)
    assert regret(THREE, choice, Bounds(), 600) <= 0.01
    assert calls <= 0.2 * 300 * sum(one.calls for one in truth(THREE, 600).values())


def test_the_same_evaluation_has_the_same_choice() -> None:
    first, again = (tuned(THREE, 60, 1, calls=20) for _ in range(2))
    assert first == again


def test_where_all_models_are_the_same_the_cheapest_is_recommended() -> None:
    for seed in range(2):
        choice, _ = tuned(ALIKE, 200, seed)
        assert choice.chosen.scored.name == "a"
        assert not choice.is_gain_shown


@pytest.mark.very_slow
@pytest.mark.parametrize("most", [None, 7.0, 4.0])
def test_the_recommended_panel_is_within_a_point_of_the_best(most: float | None) -> None:
    bounds = Bounds(max_cost=most)
    for seed in range(3):
        choice, calls = tuned(FOUR, 600, seed, bounds=bounds, calls=300)
        assert regret(FOUR, choice, bounds, 6000) <= 0.01
        assert calls <= 0.2 * 600 * sum(one.calls for one in truth(FOUR, 6000).values())


@pytest.mark.very_slow
def test_the_interval_covers_the_truth_in_93_of_100_evaluations() -> None:
    known = truth(THREE, 20_000)
    covered = 0
    for seed in range(100):
        choice, _ = tuned(THREE, 300, seed)
        panel = choice.chosen.scored.panel
        assert panel is not None
        covered += choice.chosen.quality.low <= known[panel].mean <= choice.chosen.quality.high
    assert covered >= 93


@pytest.mark.very_slow
def test_the_null_case_holds_in_nineteen_of_twenty_evaluations() -> None:
    chosen = [tuned(ALIKE, 200, seed)[0].chosen.scored.name for seed in range(40)]
    assert chosen.count("a") >= 38
