"""Quorum, agreement, hedges, difficulty routing, decisive verdicts: each off unless configured,
each in the trace (W7).
"""

from __future__ import annotations

from typing import Any

import pytest

from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.types import Timeouts
from tests.workflow.running import RunResult, failing, fake_models, judge, on_trio, run_plan

pytestmark = pytest.mark.requirement("W7")


def says(text: str, before: float = 0.0) -> FakeUpstream:
    return FakeUpstream(Says(text, before=before))


def shortcuts(result: RunResult) -> list[tuple[str, int]]:
    return [(each["name"], each["saved_calls"]) for each in result.trace["shortcuts"]]


PANEL: dict[str, Any] = {"workers": ["x", "y", "w"], "selector": "s", "synthesizer": "z"}


@on_trio
async def test_a_quorum_does_not_wait_for_the_straggler() -> None:
    models = fake_models(w=says("late", before=50))
    result = await run_plan({**PANEL, "quorum": {"min": 2, "grace_secs": 3}}, models)
    assert result.delivered == "the final answer"
    assert result.finished.at == 3
    assert models["w"].cancelled == 1
    assert [worker["status"] for worker in result.trace["workers"]] == ["ok", "ok", "cancelled"]
    assert shortcuts(result) == [("quorum", 1)]


@on_trio
async def test_within_the_grace_the_third_still_counts() -> None:
    result = await run_plan({**PANEL, "quorum": {"min": 2, "grace_secs": 3}}, fake_models(w=says("late", before=2)))
    assert result.finished.at == 2
    assert shortcuts(result) == []
    assert result.trace["workers"][2]["status"] == "ok"


@on_trio
async def test_failures_do_not_make_a_quorum() -> None:
    models = fake_models(x=failing(), w=says("late", before=20))
    result = await run_plan({**PANEL, "quorum": {"min": 2}}, models)
    assert result.finished.at == 20
    assert result.trace["workers"][2]["status"] == "ok"


@on_trio
async def test_agreement_ends_it_in_flight() -> None:
    models = fake_models(x=says("**42**."), y=says("42", before=1), w=says("late", before=50))
    result = await run_plan({**PANEL, "agreement": {"threshold": 2}}, models)
    assert result.delivered == "**42**."
    assert result.finished.at == 1
    assert models["w"].cancelled == 1
    assert (models["s"].calls, models["z"].calls) == ([], [])
    assert shortcuts(result) == [("agreement", 3)]
    assert result.trace["selector"]["status"] == result.trace["synthesizer"]["status"] == "skipped"
    assert result.trace["selector"]["selected_worker"] == "x"
    assert result.trace["status"] == "ok"


@pytest.mark.parametrize(
    ("compare", "agree"),
    [("exact", False), ("normalised", False), ("json", True)],
)
def test_agreement_by_its_kind(compare: str, agree: bool) -> None:
    @on_trio
    async def test() -> None:
        models = fake_models(x=says('{"a": 1, "b": [2]}'), y=says('```json\n{"b":[2],"a":1}\n```'), w=says("x"))
        result = await run_plan({**PANEL, "agreement": {"threshold": 2, "compare": compare}}, models)
        assert ("agreement" in dict(shortcuts(result))) is agree

    test()


@on_trio
async def test_without_agreement_the_judges_decide() -> None:
    result = await run_plan({**PANEL, "agreement": {"threshold": 2}}, fake_models(w=says("another")))
    assert result.delivered == "the final answer"
    assert shortcuts(result) == []


@on_trio
async def test_a_share_of_the_workers_is_a_threshold() -> None:
    models = fake_models(x=says("1"), y=says("1"), w=says("2"))
    result = await run_plan({**PANEL, "agreement": {"threshold": 0.6}}, models)
    assert result.delivered == "1"


@on_trio
async def test_a_hedge_backs_a_straggler_before_its_first_token() -> None:
    hanging = FakeUpstream(Hangs(), Says("second try"))
    result = await run_plan({**PANEL, "hedge": {"after_secs": 4}}, fake_models(w=hanging))
    assert result.finished.at == 4
    assert hanging.cancelled == 1
    assert [(worker["name"], worker["status"]) for worker in result.trace["workers"]][2:] == [
        ("w", "cancelled"),
        ("w (hedge)", "ok"),
    ]


@on_trio
async def test_a_hedge_goes_to_another_model_and_no_further_than_its_budget() -> None:
    models = fake_models(x=FakeUpstream(Hangs()), w=FakeUpstream(Hangs()), spare=says("spare"))
    tree = {**PANEL, "hedge": {"after_secs": 4, "to": "spare"}}
    result = await run_plan(tree, models, timeouts=Timeouts(worker=30))
    assert len(models["spare"].calls) == 1
    assert sorted(worker["status"] for worker in result.trace["workers"]) == ["cancelled", "ok", "ok", "timeout"]
    assert result.finished.at == 30


@on_trio
async def test_who_has_begun_is_not_hedged() -> None:
    slow = FakeUpstream(Says("a slow but steady answer", between=3))
    result = await run_plan({**PANEL, "hedge": {"after_secs": 4}}, fake_models(w=slow))
    assert len(slow.calls) == 1
    assert result.finished.at == 12


@on_trio
async def test_a_straggler_that_answers_first_cancels_its_hedge() -> None:
    straggler = FakeUpstream(Says("late", before=5), Hangs())
    result = await run_plan({**PANEL, "hedge": {"after_secs": 4}}, fake_models(w=straggler))
    assert result.finished.at == 5
    assert [worker["status"] for worker in result.trace["workers"]] == ["ok", "ok", "ok", "cancelled"]


ROUTED = {"analyzer": "a", **PANEL, "difficulty": {"easy": "x"}}


@on_trio
async def test_what_is_easy_is_answered_by_one() -> None:
    models = fake_models(w=says("unasked"))
    result = await run_plan(ROUTED, models)
    assert result.delivered == "a wrong answer"
    assert (models["y"].calls, models["w"].calls, models["s"].calls, models["z"].calls) == ([], [], [], [])
    assert shortcuts(result) == [("direct", 4)]


@pytest.mark.parametrize(
    "analysis", ['{"difficulty": "hard"}', '{"difficulty": "easy", "strategy": "ensemble"}', "nonsense"]
)
def test_what_is_not_easy_is_not(analysis: str) -> None:
    @on_trio
    async def test() -> None:
        result = await run_plan(ROUTED, fake_models(a=says(analysis), w=says("another")))
        assert result.delivered == "the final answer"
        assert shortcuts(result) == []

    test()


@on_trio
async def test_the_analyzer_may_ask_for_the_direct_way() -> None:
    result = await run_plan(
        ROUTED, fake_models(a=says('{"difficulty": "hard", "strategy": "direct"}'), w=says("another"))
    )
    assert result.delivered == "a wrong answer"


@on_trio
async def test_when_the_one_fails_all_are_asked() -> None:
    once = FakeUpstream(Hangs(), Says("a wrong answer"))
    result = await run_plan(ROUTED, fake_models(x=once, w=says("another")), timeouts=Timeouts(worker=10))
    assert result.delivered == "the final answer"
    assert [(worker["name"], worker["status"]) for worker in result.trace["workers"]] == [
        ("x", "timeout"),
        ("x", "ok"),
        ("y", "ok"),
        ("w", "ok"),
    ]


def decisive(choice: str) -> Says:
    plain = judge(choice).text
    assert callable(plain)
    return Says(lambda call: plain(call).replace('"reason"', '"decisive": true, "reason"'))


@on_trio
async def test_a_decisive_verdict_lets_the_winner_speak() -> None:
    models = fake_models(s=FakeUpstream(decisive("right")), w=says("another"))
    result = await run_plan({**PANEL, "decisive": True}, models)
    assert result.delivered == "the right answer"
    assert models["z"].calls == []
    assert shortcuts(result) == [("decisive", 1)]
    assert result.trace["synthesizer"]["status"] == "skipped"
    unasked = await run_plan(PANEL, fake_models(s=FakeUpstream(decisive("right")), w=says("another")))
    assert unasked.delivered == "the final answer"


@on_trio
async def test_in_a_nested_workflow_the_path_says_where() -> None:
    team = {"name": "team", "workers": ["x", "y"], "agreement": {"threshold": 2}}
    models = fake_models(x=says("42"), y=says("42"), w=says("41"))
    result = await run_plan({"workers": [team, "w"], "selector": "s", "synthesizer": "z"}, models)
    assert result.trace["shortcuts"] == [{"name": "agreement", "path": "0", "saved_calls": 2}]
    assert result.trace["workers"][0]["nested"]["shortcuts"] == result.trace["shortcuts"]
