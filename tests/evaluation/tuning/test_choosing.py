"""What is said of how sure a choice is, and the model of a judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import points
from chorus.evaluation.tuning.choosing import Bounds, Chooser, FrontierRow, questions_more
from chorus.evaluation.tuning.evidence import Shown, Variant, Verdict
from chorus.evaluation.tuning.judge_model import chances, fit
from chorus.evaluation.tuning.panels import Panel, Seats, listed, single
from chorus.evaluation.tuning.resampling import Resamples
from chorus.evaluation.tuning.scoring import Scored
from chorus.evaluation.tuning.sentences import of_choice
from chorus.workflow.parse import parse


def scored(name: str, right: int, of: int, cost: float) -> Scored:
    quality = [1.0] * right + [0.0] * (of - right)
    return Scored(single(Variant(name)), name, quality, [1.0] * of, cost, 1.0)


def test_bounds_leave_out_what_is_too_dear_too_slow_or_not_good_enough() -> None:
    panels = [scored("cheap", 50, 100, 0.001), scored("good", 90, 100, 0.01)]

    def chosen(bounds: Bounds) -> str | None:
        choice = Chooser(panels, bounds, by_cost=True, seed=0).choose()
        return choice.chosen.scored.name if choice is not None else None

    assert chosen(Bounds()) == "good"
    assert chosen(Bounds(max_cost=5.0)) == "cheap"
    assert chosen(Bounds(min_quality=0.8, max_cost=20.0)) == "good"
    assert chosen(Bounds(max_p95=0.5)) is None
    assert chosen(Bounds(max_cost=5.0, min_quality=0.8)) is None


def said(panels: Sequence[Scored], bounds: Bounds, today: Scored) -> str:
    """The sentences on a choice, in English."""
    choice = Chooser(panels, bounds, by_cost=True, seed=0).choose()
    assert choice is not None
    resamples = Resamples(len(today.quality), seed=0)
    ran = [FrontierRow(today, resamples.mean(today.quality), today.mean)]
    return " ".join(text.en for text in of_choice(choice, ran, resamples))


def test_without_a_single_model_within_the_bounds_none_is_spoken_of() -> None:
    pair = Panel(Seats(((Variant("a"), 1), (Variant("b"), 1))), judge="j")
    dear = Scored(pair, pair.label, [1.0] * 40, [1.0] * 40, 0.01, 3.0)
    panels = [scored("cheap", 10, 40, 0.001), dear]
    today = scored("chorus", 40, 40, 0.02)
    assert "single model" in said(panels, Bounds(), today)
    bounded = said(panels, Bounds(min_quality=0.9), today)
    assert bounded.startswith("Recommended: a + b; judge j. Against today's chorus: +0.0 points [0, 0].")
    assert "single model" not in bounded


def test_what_runs_today_and_is_shown_to_be_better_is_to_be_kept() -> None:
    panels = [scored("cheap", 10, 40, 0.001), scored("other", 11, 40, 0.002)]
    assert "So today's is shown to be better: keep it" in said(panels, Bounds(), scored("chorus", 40, 40, 0.02))
    assert "shown to be better: keep" not in said(panels, Bounds(), scored("chorus", 10, 40, 0.02))


@pytest.mark.parametrize(("share", "text"), [(-0.0001, "+0.0"), (0.0, "+0.0"), (-0.001, "-0.1"), (0.25, "+25.0")])
def test_nothing_has_no_sign_of_its_own(share: float, text: str) -> None:
    assert points(share) == text


def test_too_few_questions_are_counted() -> None:
    mine, theirs = [1.0] * 6 + [0.0] * 4, [1.0] * 5 + [0.0] * 5
    # one in ten differs: the standard deviation is 0.316, and (2.8 × 0.316 / 0.1)² is 79
    assert questions_more(mine, theirs, MeanInterval(0.1, 0.0, 0.3)) == 79 - 10
    assert questions_more(mine, theirs, MeanInterval(0.1, 0.01, 0.3)) is None
    assert questions_more(mine, mine, MeanInterval(0.0, 0.0, 0.0)) is None


def test_the_model_of_a_judge_recovers_what_was_planted() -> None:
    rng = Random(3)
    verdicts = []
    for number in range(1500):
        shown = tuple(Shown(f"m{place}", "x" * rng.randrange(5, 60), float(rng.random() < 0.5)) for place in range(3))
        liking = [2.0 * one.score + 1.5 * (place == 0) + _gumbel(rng) for place, one in enumerate(shown)]
        verdicts.append(Verdict(number, "judge", shown, max(range(3), key=liking.__getitem__)))
    skill, first, last, length, own = fit(verdicts).effects
    assert skill == pytest.approx(2.0, abs=0.3)
    assert first == pytest.approx(1.5, abs=0.3)
    assert (last, length, own) == pytest.approx((0.0, 0.0, 0.0), abs=0.3)
    pair = (Shown("a", "right", 1.0), Shown("b", "wrong", 0.0))
    assert sum(chances(fit(verdicts), "judge", pair, 1).values()) == pytest.approx(1.0)


def test_every_panel_is_a_workflow_that_can_be_configured() -> None:
    variants = [Variant("a"), Variant("b", "0.7"), Variant("c")]
    panels, possible = listed(variants, {variants[0]: 1, variants[1]: 9, variants[2]: 1}, ["j"], most=9999, seed=0)
    assert len(panels) == possible == len(set(panels))
    judged = [panel for panel in panels if panel.judge is not None]
    for panel in judged:
        tree = panel.tree()
        flow, problems = parse(tree, label="chorus", place="tree", kinds={})
        assert flow is not None, (tree, problems)
    fewer, _ = listed(variants, {variants[0]: 1, variants[1]: 9, variants[2]: 1}, ["j"], most=20, seed=0)
    assert len(fewer) == 20
    assert [panel for panel in fewer if panel.is_single] == [single(variant) for variant in variants]
    assert Panel(Seats(((variants[1], 5),))).tree()["workers"] == [{"ref": "b", "temperature": 0.7, "samples": 5}]


def _gumbel(rng: Random) -> float:
    return -math.log(-math.log(rng.random()))
