"""Length control: the effect of length is taken out of a judge's scores, and the trace says by how
much (W6).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.base import Call
from chorus.llm.fake import FakeUpstream, Says
from chorus.workflow.engine import Plan
from chorus.workflow.judging.length import control, corrections, doublings
from chorus.workflow.model import Model
from chorus.workflow.outline import outline
from chorus.workflow.parse import parse
from chorus.workflow.plan import Flow, drawn, replicate
from tests.workflow.running import on_trio, run_plan
from tests.workflow.test_judging import blocks

pytestmark = pytest.mark.requirement("W6")

SHORT, LONG = "s" * 100, "l" * 400
LENGTHS = st.lists(st.integers(0, 100_000), min_size=1, max_size=8)


def scoring(points: Callable[[str], float], **more: Any) -> FakeUpstream:
    """A judge that scores each candidate by its text and chooses the highest score."""

    def verdict(call: Call) -> str:
        scores = {label: points(text) for label, text in blocks(call).items()}
        best = max(scores, key=lambda label: scores[label])
        return json.dumps({"choice": best, "scores": scores, "reason": "it says more", **more})

    return FakeUpstream(Says(verdict))


def panel(**selector: Any) -> dict[str, Any]:
    return {"workers": ["x", "y"], "selector": {"ref": "s", **selector}}


def models(judge: FakeUpstream) -> dict[str, FakeUpstream]:
    return {"x": FakeUpstream(Says(SHORT)), "y": FakeUpstream(Says(LONG)), "s": judge}


def likes_long(text: str) -> float:
    """7 points, and half a point for each doubling above 100 characters: 7 and 8."""
    return 7 + 0.5 * math.log2(len(text) / 100)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_correction_changes_who_wins_and_the_trace_says_so(passes: int) -> None:
    @on_trio
    async def test() -> None:
        tree = panel(passes=passes, length_control=True, length_effect=0.6)
        run = await run_plan(tree, models(scoring(likes_long, decisive=True)))
        selector = run.trace["selector"]
        assert run.delivered == SHORT
        assert selector["scores"] == {"x": 7.6, "y": 7.4}
        assert selector["length_control"] == {"effect": 0.6, "corrections": {"x": 0.6, "y": -0.6}, "judged": "y"}
        assert selector["ranking"] == ["x", "y"]
        assert "effect of length" in selector["reasoning"]
        assert "decisive" not in selector  # what the judge said of the other one
        for each in selector.get("passes", ()):
            assert each["length_control"]["judged"] == "y"

    test()


@on_trio
async def test_it_is_off_by_default() -> None:
    for tree in (panel(), panel(length_control=False, length_effect=2.0)):
        run = await run_plan(tree, models(scoring(likes_long)))
        assert run.delivered == LONG
        assert "length_control" not in run.trace["selector"]


@on_trio
async def test_a_candidate_that_is_better_by_more_than_its_length_still_wins() -> None:
    run = await run_plan(panel(length_control=True, length_effect=0.2), models(scoring(likes_long)))
    assert run.delivered == LONG
    assert run.trace["selector"]["scores"] == {"x": 7.2, "y": 7.8}
    assert run.trace["selector"]["length_control"] == {"effect": 0.2, "corrections": {"x": 0.2, "y": -0.2}}
    assert run.trace["selector"]["reasoning"] == "it says more"


@on_trio
async def test_a_judge_that_gives_no_scores_is_taken_at_its_word() -> None:
    silent = FakeUpstream(Says(lambda call: json.dumps({"choice": next(iter(blocks(call)))})))
    run = await run_plan(panel(length_control=True), models(silent))
    assert run.trace["selector"]["status"] == "ok"
    assert run.trace["selector"]["length_control"] == {"effect": 0.3, "corrections": {}}


@given(LENGTHS, st.floats(-5, 5))
def test_corrections_take_nothing_from_all_and_no_more_than_eight_times(lengths: list[int], effect: float) -> None:
    times = doublings(lengths)
    assert all(abs(one) <= 3 for one in times)
    assert sorted(times) == [times[place] for place in sorted(range(len(lengths)), key=lambda p: max(lengths[p], 1))]
    assert corrections(lengths, effect).keys() == set(range(len(lengths)))
    assert len(set(lengths)) > 1 or set(corrections(lengths, effect).values()) == {0.0}
    if max(lengths) < 8 * max(min(lengths), 1):
        assert math.isclose(sum(times), 0, abs_tol=1e-6)


@given(st.permutations([0, 1, 2]), st.integers(1, 9))
def test_equal_scores_stand_as_the_judge_ranked_them(ranking: list[int], score: int) -> None:
    ordered, scores, done = control(ranking[0], ranking, dict.fromkeys(range(3), float(score)), [50, 50, 50], 0.3)
    assert list(ordered) == ranking
    assert scores == dict.fromkeys(range(3), score)
    assert done.judged == ranking[0]


@pytest.mark.parametrize(
    ("selector", "place", "message"),
    [
        ({"length_control": "yes"}, "tree.selector.length_control", "expected true or false"),
        ({"length_control": True, "length_effect": "much"}, "tree.selector.length_effect", "a number of points"),
        ({"length_control": True, "length_effect": True}, "tree.selector.length_effect", "a number of points"),
        ({"length_control": True, "length_effect": 50}, "tree.selector.length_effect", "from -5 to 5"),
        ({"length_control": True, "length_effect": math.nan}, "tree.selector.length_effect", "from -5 to 5"),
        ({"length_effect": 0.3}, "tree.selector.length_effect", "needs `length_control = true`"),
    ],
)
def test_faults_are_named_with_their_place(selector: dict[str, Any], place: str, message: str) -> None:
    flow, problems = parse(panel(**selector), label="chorus", place="tree", kinds={})
    assert flow is None
    [problem] = problems
    assert problem.where == place
    assert message in problem.message


def test_nested_workflows_inherit_it_and_the_tree_shows_it() -> None:
    tree = {**panel(passes=2, length_control=True, length_effect=0.25), "workers": ["x", {"workers": ["y", "x"]}]}
    flow, _ = parse(tree, label="chorus", place="tree", kinds={})
    assert flow is not None
    nested = flow.workers[1]
    assert isinstance(nested, Flow)
    assert (flow.length_effect, nested.length_effect, nested.passes) == (0.25, 0.25, 2)
    grown = replicate(flow, 2).workers[0]
    assert isinstance(grown, Flow)
    assert grown.length_effect == 0.25
    shown = outline(Plan("chorus", flow), {name: Model(name, FakeUpstream()) for name in ("x", "y", "s")})
    assert shown["root"]["selector"]["length_effect"] == 0.25
    assert any(line.en.endswith("selector     s, 2 passes, length control 0.25") for line in drawn(flow))
