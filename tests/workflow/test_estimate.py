"""What a request would take, held against what it does take (C6, W7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chorus.errors import UpstreamConnect
from chorus.llm.base import Call
from chorus.llm.fake import Fails, FakeUpstream, Hangs, Says
from chorus.types import Timeouts
from chorus.workflow.estimate import Estimate, estimate
from chorus.workflow.judging.temperature import ModelTemperature
from chorus.workflow.kinds import installed
from chorus.workflow.model import Model, Price
from chorus.workflow.plan import Flow, replicate, total_calls
from tests.workflow.running import failing, judge, on_trio, root_of, run_plan

pytestmark = pytest.mark.requirement("C6")

KINDS = installed()
TIMES = Timeouts(analyzer=30, worker=60, selector=40, synthesizer=50, first_token=20)
PRICE = Price(input=1.0, output=10.0)
ANALYSIS = '{"task_type": "maths", "temperature": 0.1, "difficulty": "hard"}'
NAMES = "abcdefxyszw"


def model(name: str, upstream: FakeUpstream | None = None, price: Price | None = PRICE) -> Model:
    return Model(name, upstream or FakeUpstream(), timeouts=TIMES, price=price)


def models(**changes: Model) -> dict[str, Model]:
    return {**{name: model(name) for name in NAMES}, **changes}


def of(tree: object, known: Mapping[str, Model] | None = None, **given: Any) -> Estimate:
    return estimate(root_of(tree, KINDS), known or models(), **given)


def flow(**parts: Any) -> dict[str, Any]:
    return {"workers": ["x", "y"], "selector": "s", **parts}


WHOLE = flow(analyzer="a", synthesizer="z")
TEAM = {"name": "team", "workers": ["x", "w"], "selector": "s", "synthesizer": None}
TREES: dict[str, Any] = {
    "single": "x",
    "selector": flow(),
    "synthesizer": {"workers": ["x", "y"], "synthesizer": "z"},
    "whole": WHOLE,
    "waiting": flow(analyzer="a", workers=["x", {"ref": "y", "auto_temperature": True}], synthesizer="z"),
    "passes": flow(selector={"ref": "s", "passes": 3}),
    "nested": flow(analyzer="a", workers=["x", TEAM], synthesizer="z"),
    "own analyzer": flow(analyzer="a", workers=["x", {**TEAM, "analyzer": "b"}]),
    "nested speaker": flow(workers=["x", {**TEAM, "synthesizer": "z"}]),
    "layers": flow(analyzer="a", refine={"layers": 3}, synthesizer="z"),
    "nested layers": flow(analyzer="a", workers=["x", TEAM], refine={"layers": 2}, synthesizer="z"),
    "refiners": flow(refine={"layers": 2, "workers": ["w", "x"]}),
    "short": flow(workers=[{"ref": "x", "timeout_secs": 7}, {"ref": "y", "timeout_secs": 5}]),
}


def slow(limit: float, text: str = "an answer") -> FakeUpstream:
    """A model that says all it has to say just before its time is over."""
    return FakeUpstream(Says(text, before=limit - 0.001))


def as_slow_as_allowed(**changes: FakeUpstream) -> dict[str, Model]:
    """Every model at its limit.

    Here workers have no limit for the first token, so that they may take all their time.
    """
    late = {
        "a": slow(30, ANALYSIS),
        "b": slow(30, ANALYSIS),
        "s": FakeUpstream(Says(judge("an").text, before=40 - 0.001)),
        "z": slow(20),
        **{name: slow(60) for name in "xyw"},
        **changes,
    }
    talkers = Timeouts(analyzer=30, worker=60, selector=40, synthesizer=50)
    return {name: Model(name, each, timeouts=TIMES if name == "z" else talkers) for name, each in late.items()}


@pytest.mark.parametrize("name", TREES)
def test_the_stages_make_the_calls_that_are_drawn(name: str) -> None:
    root = root_of(TREES[name])
    expected = of(TREES[name])
    assert sum(stage.calls for stage in expected.stages) == expected.calls == total_calls(root)
    assert 1 <= expected.at_least_calls <= expected.calls


def test_copies_of_a_worker_count() -> None:
    root = root_of(WHOLE)
    assert isinstance(root, Flow)
    expected = estimate(replicate(root, 3), models())
    assert (expected.candidates, expected.calls) == (8, total_calls(replicate(root, 3)))
    assert sum(stage.calls for stage in expected.stages) == expected.calls


@pytest.mark.parametrize("name", TREES)
@on_trio
async def test_a_run_makes_as_many_calls_as_were_announced(name: str) -> None:
    upstreams = {each: FakeUpstream(Says(f"answer of {each}")) for each in "xyz"}
    upstreams |= {"w": FakeUpstream(Says("answer of w")), "s": FakeUpstream(judge("answer"))}
    upstreams |= {each: FakeUpstream(Says(ANALYSIS)) for each in "ab"}
    await run_plan(TREES[name], upstreams)
    expected = of(TREES[name])
    assert sum(len(each.calls) for each in upstreams.values()) == expected.calls
    for each in expected.stages:
        assert each.model is not None
        assert len(upstreams[each.model].calls) >= each.calls


@pytest.mark.parametrize("name", TREES)
@on_trio
async def test_the_first_word_comes_at_the_latest_when_it_was_announced(name: str) -> None:
    known = as_slow_as_allowed()
    if name == "short":
        known["x"], known["y"] = (model(each, slow(secs)) for each, secs in (("x", 7), ("y", 5)))
    if name == "single":
        known["x"] = Model("x", slow(60), timeouts=Timeouts(first_byte=60))
    if name == "nested speaker":
        known["z"] = Model("z", slow(50), timeouts=Timeouts(synthesizer=50))
    result = await run_plan(TREES[name], {}, models=known)
    expected = of(TREES[name], known).worst_secs
    assert expected is not None
    assert result.finished.first_token_at == pytest.approx(expected, abs=0.02)


@on_trio
async def test_samples_come_in_waves_at_worst_one_by_one() -> None:
    tree = flow(workers=[{"ref": "x", "samples": 7}])
    lost = Fails(
        UpstreamConnect("gone"), before=59.999
    )  # says nothing about the others, so that one more could settle it
    answers = [Says("same", before=59.999)] * 3 + [lost]
    known = as_slow_as_allowed(x=FakeUpstream(*answers), s=FakeUpstream(Says(judge("same").text, before=39.999)))
    result = await run_plan(tree, {}, models=known)
    assert len(known["x"].upstream.calls) == 7  # type: ignore[attr-defined]
    assert of(tree, known).worst_secs == pytest.approx(4 * 60 + 40)
    assert result.finished.first_token_at == pytest.approx(4 * 60 + 40, abs=0.02)


@on_trio
async def test_samples_of_which_no_two_agree_come_in_two_waves() -> None:
    tree = flow(workers=[{"ref": "x", "samples": {"max": 7, "confidence": 0.8}}])
    known = as_slow_as_allowed(x=FakeUpstream(*(Says(f"an {text}", before=59.999) for text in "1234567")))
    result = await run_plan(tree, {}, models=known)
    assert of(tree, known).worst_secs == pytest.approx(2 * 60 + 40)
    assert result.finished.first_token_at == pytest.approx(2 * 60 + 40, abs=0.02)


@on_trio
async def test_a_hedge_may_end_after_the_worker_that_it_backs() -> None:
    tree = flow(hedge={"after_secs": 15, "to": "w"})
    known = as_slow_as_allowed(x=FakeUpstream(Says("an answer")), y=FakeUpstream(Hangs()))
    result = await run_plan(tree, {}, models=known)
    assert of(tree, known).worst_secs == pytest.approx(15 + 60 + 40)
    assert result.finished.first_token_at == pytest.approx(15 + 60 + 40, abs=0.02)


@on_trio
async def test_who_was_to_answer_alone_may_fail_when_his_time_is_over() -> None:
    tree = flow(analyzer="a", difficulty={"hard": "w"})
    known = as_slow_as_allowed(w=failing(before=59.999))
    result = await run_plan(tree, {}, models=known)
    assert of(tree, known).worst_secs == pytest.approx(30 + 60 + 60 + 40)
    assert result.finished.first_token_at == pytest.approx(30 + 60 + 60 + 40, abs=0.02)


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@on_trio
async def test_few_slots_make_it_longer(slots: int) -> None:
    tree = flow(workers=["x", "y", "w", "x", "y"])
    result = await run_plan(tree, {}, models=as_slow_as_allowed(), max_parallel=slots)
    expected = of(tree, as_slow_as_allowed(), max_parallel=slots).worst_secs
    took = result.finished.first_token_at
    assert expected is not None
    assert took is not None
    assert took <= expected
    assert expected == pytest.approx({1: 340, 8: 100}.get(slots, expected))


def test_the_limit_of_the_whole_request_caps_it() -> None:
    assert of(WHOLE, total=45).worst_secs == 45
    assert of(WHOLE, total=4500).worst_secs == 60 + 40 + 20


def test_the_analyzer_counts_only_where_somebody_waits_for_it() -> None:
    waiting = models(y=Model("y", FakeUpstream(), timeouts=TIMES, temperature=ModelTemperature(auto=True)))
    assert of(WHOLE).worst_secs == 60 + 40 + 20
    assert of(WHOLE, waiting).worst_secs == 30 + 60 + 40 + 20


SHORTCUTS: dict[str, Any] = {
    "quorum": flow(workers=["x", "y", "h"], quorum={"min": 2}),
    "quorum of one": flow(workers=["x", "h"], quorum={"min": 1}, synthesizer="z"),
    "agreement": flow(workers=["x", "y", "h"], agreement={"threshold": 2}, synthesizer="z"),
    "agreement before layers": flow(workers=["x", "y", "h"], agreement={"threshold": 2}, refine={"layers": 3}),
    "decisive": flow(decisive=True, synthesizer="z"),
    "difficulty": flow(analyzer="a", difficulty={"hard": "w"}, synthesizer="z"),
    "settled": flow(workers=[{"ref": "x", "samples": 9}]),
    "settled beside others": flow(workers=[{"ref": "x", "samples": 9}, "y"], synthesizer="z"),
    "nested": flow(workers=["x", {**TEAM, "workers": ["x", "y", "h"], "agreement": {"threshold": 2}}]),
    "none": WHOLE,
}


@pytest.mark.parametrize("name", SHORTCUTS)
@pytest.mark.requirement("W7")
@on_trio
async def test_with_every_shortcut_taken_it_makes_the_fewest_calls(name: str) -> None:
    """All answer the same at once, but for `h`, which nothing waits for."""

    def verdict(call: Call) -> str:
        return '{"choice": "A", "reason": "it is right", "scores": {"A": 9}, "decisive": true}'

    upstreams = {each: FakeUpstream(Says("same")) for each in "xywz"}
    upstreams |= {"h": FakeUpstream(Hangs()), "a": FakeUpstream(Says(ANALYSIS)), "s": FakeUpstream(Says(verdict))}
    result = await run_plan(SHORTCUTS[name], upstreams)
    made = sum(len(each.calls) for each in upstreams.values()) - len(upstreams["h"].calls)
    assert of(SHORTCUTS[name], models(h=model("h"))).at_least_calls == made
    assert result.delivered == "same"


def test_the_shortcut_that_saves_most_is_taken() -> None:
    both = flow(workers=["x", "y", "w"], quorum={"min": 1}, agreement={"threshold": 2})
    assert of(both).at_least_calls == 1
    never = flow(workers=[{"ref": "x", "samples": 5}, "y"], agreement={"threshold": 6})
    assert of(never).at_least_calls == 4 + 1 + 1  # the samples settle before six can agree


def test_judges_read_every_candidate_and_refiners_those_before_them() -> None:
    expected = of(flow(analyzer="a", refine={"layers": 2}, synthesizer="z"), prompt_tokens=100, answer_tokens=10)
    read = {"/".join(stage.path): stage.prompt_tokens for stage in expected.stages}
    assert read == {
        "analyzer": 100, "0": 100, "1": 100, "2": 120, "3": 120, "selector": 120, "synthesizer": 120,
    }  # fmt: skip
    assert [stage.name for stage in expected.stages if stage.path == ("3",)] == ["y (layer 2)"]


def test_an_answer_is_no_longer_than_its_max_tokens() -> None:
    short = flow(workers=["x", {"ref": "y", "max_tokens": 4}])
    expected = of(short, prompt_tokens=100, answer_tokens=10)
    assert [stage.completion_tokens for stage in expected.stages] == [10, 4, 10]
    assert expected.stages[-1].prompt_tokens == 114


def test_the_cost_is_the_sum_of_what_every_call_costs() -> None:
    expected = of(flow(selector={"ref": "s", "passes": 3}), prompt_tokens=100, answer_tokens=10)
    worker, verdict = (100 + 10 * 10) / 1e6, (120 + 10 * 10) / 1e6
    assert [stage.cost for stage in expected.stages] == pytest.approx([worker, worker, 3 * verdict])
    assert expected.cost == pytest.approx(2 * worker + 3 * verdict)


def test_hedges_and_a_failed_direct_answer_cost_extra_and_the_dearest_counts() -> None:
    dear = models(y=model("y", price=Price(input=100.0)), w=model("w", price=Price(input=7.0)))
    plain = flow(workers=["x", "y", "x"], analyzer="a")
    eager = {**plain, "hedge": {"after_secs": 1, "max": 2}, "difficulty": {"easy": "x", "hard": "w"}}
    before, after = (of(tree, dear, prompt_tokens=1000, answer_tokens=0) for tree in (plain, eager))
    assert (before.extra_calls, after.extra_calls) == (0, 3)
    assert before.calls == after.calls
    assert before.cost is not None
    assert after.cost == pytest.approx(before.cost + 0.1 + 0.001 + 0.007)
    assert [stage.model for stage in after.stages if stage.path == ("hedge",)] == ["y", "x"]


@on_trio
async def test_not_more_calls_than_announced_when_things_go_wrong() -> None:
    tree = flow(analyzer="a", difficulty={"hard": "w"}, hedge={"after_secs": 1, "max": 5}, synthesizer="z")
    late = FakeUpstream(Hangs())
    upstreams = {"a": FakeUpstream(Says(ANALYSIS)), "w": failing(), "x": late, "y": FakeUpstream(Says(before=9))}
    upstreams |= {"s": FakeUpstream(judge("an")), "z": FakeUpstream(Says("final"))}
    await run_plan(tree, upstreams)
    expected = of(tree)
    made = sum(len(each.calls) for each in upstreams.values())
    assert (expected.calls, expected.extra_calls) == (5, 3)
    assert made <= expected.calls + expected.extra_calls


def test_a_model_without_a_price_leaves_a_partial_sum() -> None:
    expected = of(WHOLE, models(s=model("s", price=None), z=model("z", price=None)))
    assert (expected.cost, list(expected.unpriced)) == (None, ["s", "z"])
    assert expected.partial_cost == pytest.approx(3 * (1000 + 10 * 500) / 1e6)
    assert of("x").cost == pytest.approx((1000 + 10 * 500) / 1e6)


def test_a_reranker_counts_as_the_model_that_it_asks() -> None:
    expected = of({"workers": ["x", "y"], "selector": {"kind": "reranker", "ref": "s", "timeout_secs": 9}})
    assert (expected.calls, expected.worst_secs) == (4, 69)
    assert [stage.model for stage in expected.stages] == ["x", "y", "s"]


def test_a_kind_that_names_no_model_has_no_limit_and_no_price() -> None:
    class Oracle:
        name = "oracle"

        def problems(self, spec: object) -> list[str]:
            return []

        def refs(self, spec: object) -> list[str]:
            return []

        async def answer(self, *given: object) -> None: ...

    tree = flow(workers=["x", {"kind": "oracle"}])
    root = root_of(tree, {"oracle": Oracle()})  # type: ignore[dict-item]
    expected = estimate(root, models())
    assert (expected.worst_secs, list(expected.unpriced)) == (None, ["oracle"])
    assert estimate(root, models(), total=90, max_parallel=1).worst_secs == 90
