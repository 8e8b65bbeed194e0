"""Stages that fail, hang or talk nonsense, on fake models and trio's MockClock: each leaves its reason and degrades (W2)."""

from __future__ import annotations

import pytest

from chorus.errors import AllWorkersFailed
from chorus.llm.fake import FakeUpstream, Hangs, Says
from tests.workflow.singing import WHOLE, cast, failing, on_trio, sing


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
    sung = await sing(tree, cast(**{name: broken}))
    trace = sung.trace
    assert trace[stage]["status"] == status
    assert trace[stage]["error"]["message"]
    assert trace["status"] == "degraded"
    assert [error["stage"] for error in trace["errors"]] == [stage]
    assert sung.heard == ("the right answer" if stage == "synthesizer" else "the final answer")


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
    models = cast(x=broken)
    sung = await sing(WHOLE, models)
    assert sung.heard == "the final answer"
    assert sung.trace["workers"][0]["status"] == status
    assert sung.trace["selector"]["status"] == "skipped"
    assert sung.trace["shortcuts"] == [{"name": "single_candidate", "path": "", "saved_calls": 1}]
    assert models["s"].calls == []


@pytest.mark.requirement("W2")
@on_trio
async def test_no_candidate_fails_with_every_reason() -> None:
    sung = await sing(WHOLE, cast(x=failing("x is away"), y=FakeUpstream(Hangs())))
    error = sung.failed.error
    assert isinstance(error, AllWorkersFailed)
    assert error.status == 502
    assert [(name, code) for name, code, _ in error.reasons] == [("x", "upstream_connect"), ("y", "upstream_timeout")]
    assert "x is away" in error.message
    assert sung.trace["status"] == "failed"
    assert sung.heard == ""


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
    sung = await sing(tree, models)
    assert sung.heard == "the sum is 12"
    assert sung.trace["selector"]["status"] == "fallback"


@pytest.mark.requirement("W2")
@on_trio
async def test_a_voice_that_breaks_after_its_first_token_is_an_error_not_a_second_answer() -> None:
    sung = await sing(WHOLE, cast(z=failing("z is away", first="the fi")))
    assert sung.heard == "the fi"
    assert sung.failed.error.code == "upstream_connect"


@pytest.mark.requirement("W2")
@on_trio
async def test_a_nested_workflow_that_fails_is_one_failed_worker() -> None:
    tree = {"workers": ["y", {"workers": ["x", "x"]}], "selector": "s", "synthesizer": "z"}
    sung = await sing(tree, cast(x=failing("x is away")))
    assert sung.heard == "the final answer"
    assert sung.trace["workers"][1]["error"]["code"] == "all_workers_failed"
