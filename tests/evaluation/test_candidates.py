"""Which candidates count, and how well they were chosen among, read from the traces of real
runs.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from chorus.evaluation import candidates
from chorus.evaluation.dataset import Question
from chorus.evaluation.results import Result, WorkerAnswer
from chorus.evaluation.summary import Judged, summarise
from chorus.llm.fake import FakeUpstream, Says
from chorus.types import Message
from tests.workflow.running import failing, judge, run_plan

ASKED = Question("1", (Message("user", "2 + 2"),), "numeric", 4)


def fake_models(**answers: str) -> dict[str, FakeUpstream]:
    return {"s": FakeUpstream(judge("it is 4")), **{name: FakeUpstream(Says(text)) for name, text in answers.items()}}


async def seen(tree: Any, models: dict[str, FakeUpstream]) -> tuple[list[tuple[str, float | None]], int | None, str]:
    trace = (await run_plan(tree, models)).trace
    found, selected = candidates.read(ASKED, trace)
    return [(each.name, each.score) for each in found], selected, candidates.selector_status(trace)


async def test_candidates_are_graded_and_the_chosen_one_is_found() -> None:
    read = await seen({"workers": ["x", "y"], "selector": "s"}, fake_models(x="it is 5", y="it is 4"))
    assert read == ([("x", 0), ("y", 1)], 1, "ok")


async def test_who_failed_is_no_candidate() -> None:
    models = fake_models(y="it is 5", z="it is 4") | {"x": failing()}
    assert await seen({"workers": ["x", "y", "z"], "selector": "s"}, models) == ([("y", 0), ("z", 1)], 1, "ok")


async def test_only_the_last_layer_stood_before_the_selector() -> None:
    tree = {"workers": ["x", "y"], "refine": {"layers": 2}, "selector": "s"}
    found, selected, _ = await seen(tree, fake_models(x="it is 5", y="it is 4"))
    assert (found, selected) == ([("x (layer 2)", 0), ("y (layer 2)", 1)], 1)


async def test_a_layer_that_fails_leaves_the_one_before() -> None:
    tree = {"workers": ["x", "y"], "refine": {"layers": 2, "workers": ["z"]}, "selector": "s"}
    assert (await seen(tree, fake_models(x="it is 5", y="it is 4") | {"z": failing()}))[0] == [("x", 0), ("y", 1)]


async def test_agreement_leaves_the_selector_out() -> None:
    tree = {"workers": ["x", "y"], "agreement": {"threshold": 2}, "selector": "s"}
    assert await seen(tree, fake_models(x="it is 4", y="it is 4")) == ([("x", 1), ("y", 1)], 0, "skipped")


async def test_a_workflow_without_a_selector_has_candidates_and_no_choice() -> None:
    assert await seen({"workers": ["x", "y"], "synthesizer": "s"}, fake_models(x="it is 5", y="it is 4")) == (
        [("x", 0), ("y", 1)],
        None,
        "",
    )


async def test_a_model_that_answers_alone_stood_beside_nobody() -> None:
    tree = {"analyzer": "a", "workers": ["x", "y"], "difficulty": {"easy": "x"}, "selector": "s"}
    models = fake_models(a='{"task_type": "maths", "temperature": 0, "difficulty": "easy"}', x="4", y="5")
    assert await seen(tree, models) == ([], None, "")


async def test_every_call_of_every_level_is_counted() -> None:
    tree = {
        "workers": ["x", {"name": "team", "workers": ["x", "y"], "selector": "s"}],
        "selector": {"ref": "s", "passes": 2},
    }
    models = fake_models(x="it is 5", y="it is 4")
    trace = (await run_plan(tree, models)).trace
    assert candidates.calls(trace) == sum(len(model.calls) for model in models.values())


def run_of(number: int, texts: list[str], selected: int | None, selector: str = "ok") -> Result:
    graded = tuple(WorkerAnswer(str(place), text, float(text.endswith("4"))) for place, text in enumerate(texts))
    return Result(str(number), "chorus", "4", 1.0, candidates=graded, selected=selected, selector=selector)


def judged(*runs: Result) -> Judged:
    asked = [Question(each.id, ASKED.messages, "numeric", 4) for each in runs]
    found = {(each.id, each.contestant): each for each in runs}
    found |= {(each.id, "glm"): Result(each.id, "glm", "5", 0.0) for each in runs}
    [one] = summarise(asked, ["glm"], ["chorus"], found).judged
    return one


def test_picks_count_where_the_selector_had_to_choose() -> None:
    selector = judged(
        run_of(1, ["4", "5"], 0),  # a right pick
        run_of(2, ["4", "5"], 1),  # a wrong one
        run_of(3, ["4", "4"], 0),  # nothing to choose
        run_of(4, ["5", "5"], 0),  # nothing right
        run_of(5, ["5", "5", "4"], 0, "skipped"),  # agreement chose
        run_of(6, ["5", "4"], 0, "fallback"),  # the judge failed
    )
    assert (selector.decided, selector.picks.mean) == (3, pytest.approx(1 / 3))
    assert (selector.oracle, selector.selected) == (pytest.approx(5 / 6), pytest.approx(2 / 6))
    assert selector.chance == pytest.approx((0.5 + 0.5 + 1 + 0 + 1 / 3 + 0.5) / 6)


def test_a_majority_is_counted_by_what_is_concluded() -> None:
    assert judged(run_of(1, ["5", "2 + 2 = 4", "so it is 4"], 0)).majority == 1
    assert judged(run_of(1, ["5", "4"], 0)).majority == 0  # of several, the first


def test_without_a_selector_there_is_an_oracle_all_the_same() -> None:
    selector = judged(run_of(1, ["5", "4"], None, ""))
    assert (selector.oracle, selector.decided) == (1, 0)
    assert math.isnan(selector.selected)
