"""Learned routes: the decision alone, and in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from benchmarks import learned_routes
from chorus.errors import UpstreamConnect
from chorus.events import Event, Pick, StageFinished, StageStarted, WorkersPicked
from chorus.llm.fake import Fails, FakeUpstream, Says
from chorus.types import ChatRequest
from chorus.workflow.engine import Job, Plan, running
from chorus.workflow.learned_route import (
    MOST_TASK_TYPES,
    Counts,
    Known,
    Learned,
    Option,
    Posterior,
    discounted,
    pick,
    posterior,
    task_type_of,
)
from chorus.workflow.model import Model, Price
from chorus.workflow.outcomes import Credit, feedback_credits, verdict_credits
from chorus.workflow.plan import Flow
from chorus.workflow.run import Budget
from tests.workflow.running import QUESTION, RunResult, fake_models, judge, root_of

pytestmark = [pytest.mark.requirement("W7")]
DAY = 86_400.0


def options(*posteriors: Posterior) -> list[Option]:
    return [Option(f"w{number}", (f"w{number}",), one) for number, one in enumerate(posteriors)]


def chosen(picks: Sequence[Pick]) -> list[str]:
    return [one.worker for one in picks if one.is_picked]


class TestPick:
    def test_the_better_one_is_picked_mostly_and_every_one_now_and_then(self) -> None:
        rng, settings = Random(1), Learned(workers=1, explore=0.2)
        all_of_them = options(Posterior(90, 10), Posterior(10, 90), Posterior(10, 90))
        counted = Counter(chosen(pick(all_of_them, settings, rng))[0] for _ in range(3000))
        assert counted["w0"] > 0.8 * 3000
        for other in ("w1", "w2"):  # at least a third of the floor
            assert counted[other] > 0.2 / 3 * 3000 * 0.75

    def test_without_a_floor_a_bad_one_is_not_picked(self) -> None:
        rng, settings = Random(1), Learned(workers=1, explore=0.0)
        picks = [pick(options(Posterior(900, 100), Posterior(100, 900)), settings, rng) for _ in range(500)]
        assert {name for one in picks for name in chosen(one)} == {"w0"}
        assert {one[1].reason for one in picks} == {"lower_draw"}

    @pytest.mark.parametrize("explore", [0.0, 0.5, 1.0])
    def test_nothing_outside_the_budget_is_picked_while_something_fits(self, explore: float) -> None:
        rng, cost = Random(2), [5.0, 3.0, 2.0, 1.0]
        for room in (1.0, 2.5, 4.0, 6.0, 8.0):
            for _ in range(300):
                picks = pick(
                    options(*[Posterior(1, 1)] * 4),
                    Learned(workers=2, explore=explore),
                    rng,
                    lambda places: sum(cost[place] for place in places) <= room,  # noqa: B023
                    lambda place: cost[place],
                )
                spent = sum(cost[int(name[1:])] for name in chosen(picks))
                assert 0 < spent <= room

    def test_where_nothing_fits_the_cheapest_one_is_picked(self) -> None:
        picks = pick(
            options(Posterior(9, 1), Posterior(1, 1)), Learned(), Random(1), lambda places: False, lambda n: 2 - n
        )
        assert chosen(picks) == ["w1"]
        assert [one.reason for one in picks] == ["budget", "cheapest"]

    def test_all_are_picked_where_there_are_no_more(self) -> None:
        assert len(chosen(pick(options(Posterior(1, 1), Posterior(1, 1)), Learned(workers=5), Random(1)))) == 2


class TestPosterior:
    def test_feedback_comes_first_and_verdicts_fade(self) -> None:
        assert posterior(Counts()) == Posterior(1.0, 1.0)
        assert posterior(Counts(feedback=4, liked=3)) == Posterior(4.0, 2.0)
        assert posterior(Counts(verdicts=8, won=6)) == Posterior(2.5, 1.5)
        many = Counts(verdicts=10_000, won=10_000)
        assert posterior(many) == Posterior(51.0, 1.0)
        overruled = posterior(replace(many, feedback=30.0))
        assert overruled.mean < 0.4

    def test_a_rest_below_nothing_is_nothing(self) -> None:
        assert posterior(Counts(feedback=-1e-9, liked=1.0)) == Posterior(1.0, 1.0)

    def test_an_outcome_counts_half_after_a_half_life(self) -> None:
        settings = Learned(half_life_days=8.0)
        now = 1000 * DAY
        rows = [("code", "w", settings.bucket(now - age * DAY), Counts(feedback=8.0)) for age in (0, 9, 17)]
        known = discounted(rows, settings, now)
        assert known["code", "w"].feedback == pytest.approx(8 + 4 + 2, rel=0.1)
        assert settings.weight(settings.bucket(now), now) == 1.0
        assert settings.oldest(now) <= now - 64 * DAY


def test_task_types_are_bounded() -> None:
    assert task_type_of(None, {}) == "any"
    assert task_type_of(" Code  Review ", {}) == "code_review"
    assert task_type_of("  ", {}) == "other"
    assert len(task_type_of("x" * 300, {})) <= 40
    full: Known = {(f"t{number}", "w"): Counts() for number in range(MOST_TASK_TYPES)}
    assert task_type_of("new", full) == "other"
    assert task_type_of("T3", full) == "t3"


class Knows:
    """What is known, for a test."""

    def __init__(self, known: Known, note: str = "") -> None:
        self.rng = Random(1)
        self._known, self._note = known, note

    async def known(self) -> tuple[Known, str]:
        return self._known, self._note


GOOD, BAD = Counts(feedback=500, liked=495), Counts(feedback=500, liked=5)
KNOWN = {("any", "x"): GOOD, ("any", "y"): GOOD, ("any", "w"): BAD, ("any", "v"): BAD}
FOUR: dict[str, Any] = {"workers": ["w", "x", "y", "v"], "selector": "s"}


async def learn(
    tree: dict[str, Any],
    upstreams: dict[str, FakeUpstream],
    known: Known,
    settings: Learned | None = None,
    *,
    request: ChatRequest = QUESTION,
    models: dict[str, Model] | None = None,
    note: str = "",
    **plan: Any,
) -> RunResult:
    root = root_of(tree)
    assert isinstance(root, Flow)
    root = replace(root, learned=settings or Learned(explore=0.0))
    made = models or {name: Model(name, upstream) for name, upstream in upstreams.items()}
    job = Job("wf_1", "req_1", (request,), learner=Knows(known, note))
    async with running(Plan("chorus", root, **plan), job, made, {}) as journal:
        await journal.ended()
        return RunResult(list(journal.events))


def four(**changes: FakeUpstream) -> dict[str, FakeUpstream]:
    more = {name: FakeUpstream(Says(f"answer of {name}"), name=name) for name in "vw"}
    return {**fake_models(), **more, **changes}


async def test_those_that_did_well_at_this_task_answer_and_the_trace_says_why() -> None:
    known = {("maths", "y"): GOOD, ("maths", "x"): GOOD, ("maths", "w"): BAD, ("maths", "v"): BAD, ("any", "v"): GOOD}
    upstreams = four()
    result = await learn({**FOUR, "analyzer": "a"}, upstreams, known)
    assert result.delivered == "the right answer"
    assert [worker["name"] for worker in result.trace["workers"]] == ["x", "y"]
    [route] = result.trace["routes"]
    assert (route["path"], route["task_type"]) == ("", "maths")
    assert {one["worker"]: (one["picked"], one["reason"]) for one in route["workers"]} == {
        "w": (False, "lower_draw"),
        "x": (True, "draw"),
        "y": (True, "draw"),
        "v": (False, "lower_draw"),
    }
    why = result.trace["workers"][0]["picked"]
    assert (why["alpha"], why["beta"], why["reason"]) == (496.0, 6.0, "draw")
    assert 0.9 < why["draw"] < 1.0
    assert upstreams["w"].calls == upstreams["v"].calls == []


async def test_without_an_analyzer_there_is_one_task_type() -> None:
    result = await learn(
        FOUR, four(), {**KNOWN, ("any", "y"): BAD}, Learned(workers=1, explore=0.0), note="The store is away."
    )
    [route] = result.trace["routes"]
    assert (route["task_type"], route["note"]) == ("any", "The store is away.")
    assert result.delivered == "a wrong answer"
    assert [shortcut["name"] for shortcut in result.trace["shortcuts"]] == ["single_candidate"]


async def test_workers_and_judges_stay_inside_the_budget() -> None:
    dear, cheap = Price(1000.0, 1000.0), Price(1.0, 1.0)
    models = {name: Model(name, upstream, price=dear if name in "xy" else cheap) for name, upstream in four().items()}
    for _ in range(20):
        result = await learn(FOUR, {}, KNOWN, models=models, budget=Budget(max_cost=0.01))
        assert [worker["name"] for worker in result.trace["workers"]] == ["w", "v"]
        assert result.finished.usage.cost is not None
        assert result.finished.usage.cost <= 0.01
    reasons = {one["worker"]: one["reason"] for one in result.trace["routes"][0]["workers"]}
    assert reasons == {"w": "draw", "v": "draw", "x": "budget", "y": "budget"}


async def test_samples_of_one_model_are_picked_together() -> None:
    tree = {"workers": [{"ref": "x", "samples": 3}, "y"], "selector": "s"}
    result = await learn(tree, four(), {("any", "x"): GOOD, ("any", "y"): BAD}, Learned(workers=1, explore=0.0))
    assert {worker["name"] for worker in result.trace["workers"]} <= {"x#1", "x#2", "x#3"}
    assert feedback_credits(result.events, 1.0) == [Credit("any", "x", Counts(feedback=1.0, liked=1.0))]


async def test_a_quorum_of_more_than_are_picked_waits_for_those() -> None:
    tree = {**FOUR, "quorum": {"min": 3}, "agreement": {"threshold": 3}}
    result = await learn(tree, four(), KNOWN)
    assert result.delivered == "the right answer"


class TestOutcomes:
    async def test_the_verdict_credits_the_winner_and_feedback_does_too(self) -> None:
        result = await learn(FOUR, four(), KNOWN)
        verdicts = {credit.worker: credit.counts for credit in verdict_credits(result.events)}
        assert {worker: (counts.verdicts, counts.won) for worker, counts in verdicts.items()} == {
            "x": (1, 0),
            "y": (1, 1),
        }
        assert all(counts.answers == 1 and counts.tokens > 0 for counts in verdicts.values())
        assert feedback_credits(result.events, 0.25) == [Credit("any", "y", Counts(feedback=1.0, liked=0.25))]

    async def test_a_worker_that_fails_has_lost(self) -> None:
        down = FakeUpstream(Fails(UpstreamConnect("gone")), name="x")
        result = await learn(FOUR, four(x=down), KNOWN)
        found = {credit.worker: credit.counts for credit in verdict_credits(result.events)}
        assert (found["x"].verdicts, found["x"].won, found["y"].verdicts) == (1, 0, 0)

    async def test_without_a_selector_all_that_answered_share(self) -> None:
        tree = {"workers": ["w", "x", "y", "v"], "synthesizer": "z"}
        result = await learn(tree, four(), KNOWN)
        half = Counts(feedback=0.5, liked=0.5)
        assert feedback_credits(result.events, 1.0) == [Credit("any", "x", half), Credit("any", "y", half)]
        assert {credit.counts.verdicts for credit in verdict_credits(result.events)} == {0.0}

    async def test_a_run_of_another_workflow_says_nothing(self) -> None:
        events: list[Event] = [
            StageStarted(("0",), 0.0, "worker", "x", "x"),
            StageFinished(("0",), 1.0, "ok"),
            WorkersPicked(("9",), 0.0, "any", (Pick("x", ("x",), 1.0, 1.0, 0.5, True, "draw"),)),
        ]
        assert verdict_credits(events) == feedback_credits(events, 1.0) == []
        assert verdict_credits(events[:2]) == feedback_credits(events[:2], 1.0) == []

    async def test_passes_that_disagree_share_the_win(self) -> None:
        tree = {**FOUR, "selector": {"ref": "s", "passes": 2}}
        result = await learn(tree, four(s=FakeUpstream(judge(), name="s")), KNOWN)
        found = {credit.worker: credit.counts.won for credit in verdict_credits(result.events)}
        assert found == {"x": 0.0, "y": 1.0}


async def test_a_workflow_that_does_not_learn_has_no_route() -> None:
    root = root_of(FOUR)
    made = {name: Model(name, upstream) for name, upstream in four().items()}
    async with running(Plan("chorus", root), Job("wf_1", "req_1", (QUESTION,)), made, {}) as journal:
        await journal.ended()
        result = RunResult(list(journal.events))
    assert "routes" not in result.trace
    assert len(result.trace["workers"]) == 4


def test_a_simulated_route_loses_less_than_chance_and_stays_inside_the_budget() -> None:
    """The small form of `python -m benchmarks.learned_routes`."""
    requests = 2000
    route = learned_routes.Route(Learned(half_life_days=1.0))
    learned = learned_routes.lived(route.choose, 1, requests, route)
    chance = learned_routes.lived(lambda task, number, rng: rng.choice(learned_routes.PAIRS), 1, requests)
    assert learned.lost[-1] < 0.6 * chance.lost[-1]
    assert learned.outside == 0
