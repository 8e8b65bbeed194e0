"""Stages that fail, hang or talk nonsense, on fake models and trio's MockClock: each leaves its
reason and degrades (W2).
"""

from __future__ import annotations

import pytest

from chorus.errors import AllWorkersFailed
from chorus.llm.fake import FakeUpstream, Hangs, Says
from tests.workflow.running import WHOLE, failing, fake_models, on_trio, run_plan


@pytest.mark.parametrize(
    ("stage", "broken", "status"),
    [
        ("analyzer", failing(), "failed"),
        ("analyzer", FakeUpstream(Hangs()), "timeout"),
        ("analyzer", FakeUpstream(Says("I think it is maths")), "failed"),
        ("selector", failing(), "fallback"),
        ("selector", FakeUpstream(Hangs()), "fallback"),
        ("selector", FakeUpstream(Says("they are all lovely")), "fallback"),
        ("synthesizer", failing(), "failed"),
        ("synthesizer", FakeUpstream(Hangs()), "timeout"),
        ("synthesizer", FakeUpstream(Says("")), "failed"),
    ],
)
@pytest.mark.requirement("W2")
@on_trio
async def test_a_broken_stage_leaves_its_reason_and_degrades(stage: str, broken: FakeUpstream, status: str) -> None:
    name = {"analyzer": "a", "selector": "s", "synthesizer": "z"}[stage]
    tree = {**WHOLE, "workers": ["x", {"ref": "y", "auto_temperature": True}]}
    result = await run_plan(tree, fake_models(**{name: broken}))
    trace = result.trace
    assert trace[stage]["status"] == status
    assert trace[stage]["error"]["message"]
    assert trace["status"] == "degraded"
    assert [error["stage"] for error in trace["errors"]] == [stage]
    assert result.delivered == ("the right answer" if stage == "synthesizer" else "the final answer")


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (failing(), "failed"),
        (failing(first="half an"), "failed"),
        (FakeUpstream(Hangs()), "timeout"),
        (FakeUpstream(Hangs(first="half an")), "timeout"),
        (FakeUpstream(Says("   ")), "failed"),
    ],
)
@pytest.mark.requirement("W2")
@on_trio
async def test_one_worker_lost_and_the_judge_is_not_asked_about_the_other(broken: FakeUpstream, status: str) -> None:
    models = fake_models(x=broken)
    result = await run_plan(WHOLE, models)
    assert result.delivered == "the final answer"
    assert result.trace["workers"][0]["status"] == status
    assert result.trace["selector"]["status"] == "skipped"
    assert result.trace["shortcuts"] == [{"name": "single_candidate", "path": "", "saved_calls": 1}]
    assert models["s"].calls == []


@pytest.mark.requirement("W2")
@on_trio
async def test_no_candidate_fails_with_every_reason() -> None:
    result = await run_plan(WHOLE, fake_models(x=failing("x is away"), y=FakeUpstream(Hangs())))
    error = result.failed.error
    assert isinstance(error, AllWorkersFailed)
    assert error.status == 502
    assert [(name, code) for name, code, _ in error.reasons] == [("x", "upstream_connect"), ("y", "upstream_timeout")]
    assert "x is away" in error.message
    assert result.trace["status"] == "failed"
    assert result.delivered == ""


@pytest.mark.requirement("W2")
@on_trio
async def test_without_a_judge_the_candidate_that_agrees_most_is_taken() -> None:
    tree = {"workers": ["p", "q", "r"], "selector": "s"}
    models = {
        "p": FakeUpstream(Says("it is eleven")),
        "q": FakeUpstream(Says("the sum is 12")),
        "r": FakeUpstream(Says("the sum is clearly 12")),
        "s": failing(),
    }
    result = await run_plan(tree, models)
    assert result.delivered == "the sum is 12"
    assert result.trace["selector"]["status"] == "fallback"


@pytest.mark.requirement("W2")
@on_trio
async def test_an_output_that_breaks_after_its_first_token_is_an_error_not_a_second_answer() -> None:
    result = await run_plan(WHOLE, fake_models(z=failing("z is away", first="the fi")))
    assert result.delivered == "the fi"
    assert result.failed.error.code == "upstream_connect"


@pytest.mark.requirement("W2")
@on_trio
async def test_a_nested_workflow_that_fails_is_one_failed_worker() -> None:
    tree = {"workers": ["y", {"workers": ["x", "x"]}], "selector": "s", "synthesizer": "z"}
    result = await run_plan(tree, fake_models(x=failing("x is away")))
    assert result.delivered == "the final answer"
    assert result.trace["workers"][1]["error"]["code"] == "all_workers_failed"
