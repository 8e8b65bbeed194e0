"""Deadline, budget and shared analyses: one for the whole tree (W3, W11)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import AllWorkersFailed
from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.types import Timeouts
from chorus.usage import Usage
from chorus.workflow.model import Model, Price
from chorus.workflow.run import Budget
from tests.workflow.running import fake_models, on_trio, run_plan

TREE: dict[str, Any] = {"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}


@pytest.mark.requirement("W11")
@on_trio
async def test_when_the_budget_is_spent_no_call_is_begun() -> None:
    models = fake_models()
    result = await run_plan(TREE, models, budget=Budget(max_total_tokens=30))
    assert (len(models["s"].calls), len(models["z"].calls)) == (0, 0)
    assert result.delivered == "a wrong answer"
    assert result.trace["status"] == "degraded"
    assert [error["code"] for error in result.trace["errors"]] == ["budget_spent", "budget_spent"]
    assert result.trace["usage"]["total_tokens"] == 30


@pytest.mark.requirement("W11")
@on_trio
async def test_a_budget_in_money() -> None:
    paid = Model("x", FakeUpstream(Says("dear", usage=Usage(1000, 0))), price=Price(input=1000))
    models = fake_models()
    result = await run_plan(TREE, models, models={"x": paid}, budget=Budget(max_cost=0.5))
    assert result.trace["cost"] == 1.0
    assert models["s"].calls == []


@pytest.mark.requirement("W11")
@on_trio
async def test_a_nested_workflow_spends_from_the_same_budget() -> None:
    team = {"name": "team", "workers": ["x", {"ref": "y", "auto_temperature": True}], "analyzer": "a"}
    models = fake_models(a=FakeUpstream(Says('{"difficulty": "easy"}', before=5)))
    result = await run_plan({**TREE, "workers": ["w", team]}, {**models, "w": FakeUpstream()}, budget=Budget(30))
    assert models["y"].calls == []
    codes = [error["code"] for error in result.trace["errors"]]
    assert set(codes) == {"budget_spent"}
    assert result.delivered


@pytest.mark.requirement("W11")
@on_trio
async def test_with_nothing_to_show_a_spent_budget_fails_the_request() -> None:
    models = fake_models(a=FakeUpstream(Says("{}", usage=Usage(100, 0))))
    tree = {**TREE, "analyzer": "a", "workers": [{"ref": "x", "auto_temperature": True}]}
    result = await run_plan(tree, models, budget=Budget(50))
    assert isinstance(result.failed.error, AllWorkersFailed)
    assert result.failed.error.reasons[0][1] == "budget_spent"


@pytest.mark.requirement("W11")
@on_trio
async def test_calls_that_were_cut_are_paid_for_too() -> None:
    models = fake_models(y=FakeUpstream(Hangs("five words and no more")))
    result = await run_plan({**TREE, "quorum": {"min": 1}}, models)
    straggler = result.trace["workers"][1]
    assert straggler["status"] == "cancelled"
    assert straggler["usage"]["estimated"]
    assert result.finished.usage.completion_tokens > 15


@pytest.mark.requirement("W11")
@on_trio
async def test_an_output_that_the_deadline_cuts_keeps_its_text() -> None:
    models = fake_models(z=FakeUpstream(Says("one two three four", between=3)))
    result = await run_plan(TREE, models, total=7)
    assert result.delivered == "one two three"
    assert result.finished.answers[0].finish_reason == "length"
    assert result.trace["status"] == "degraded"
    assert result.trace["synthesizer"]["error"]["code"] == "deadline_exceeded"


@pytest.mark.requirement("W11")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_deadline_holds_at_every_depth(depth: int) -> None:
    @on_trio
    async def test() -> None:
        tree: Any = {"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}
        for _ in range(depth - 1):
            tree = {"workers": [tree, "y"], "selector": "s", "synthesizer": "z"}
        models = fake_models(y=FakeUpstream(Hangs()))
        result = await run_plan(tree, models, total=10, timeouts=Timeouts(worker=60))
        assert result.finished.at == 10
        assert result.delivered == "a wrong answer"
        assert result.trace["status"] == "degraded"

    test()


@pytest.mark.requirement("W3")
@on_trio
async def test_the_same_analyzer_is_asked_once_for_the_whole_tree() -> None:
    waits = {"ref": "x", "auto_temperature": True}
    team = {"workers": [waits, "y"]}
    models = fake_models(a=FakeUpstream(Says('{"temperature": 0.3}', before=5)))
    result = await run_plan({"analyzer": "a", **TREE, "workers": [team, team, waits]}, models)
    assert len(models["a"].calls) == 1
    assert {call.request.sampling.temperature for call in models["x"].calls} == {0.3}
    nested = [worker["nested"]["analyzer"] for worker in result.trace["workers"][:2]]
    analyzers = [result.trace["analyzer"], *nested]
    assert sorted(each["status"] for each in analyzers) == ["ok", "skipped", "skipped"]
    assert {each["analysis"]["temperature"] for each in analyzers} == {0.3}


@pytest.mark.requirement("W3")
@on_trio
async def test_an_analysis_whose_workflow_is_cancelled_is_taken_over() -> None:
    """The first workflow's quorum is in before the analyzer has answered.

    The second still needs it.
    """
    waits = {"ref": "x", "auto_temperature": True}
    hasty = {"workers": [waits, "w"], "quorum": {"min": 1}}
    models = fake_models(
        a=FakeUpstream(Says('{"temperature": 0.3}', before=5)), w=FakeUpstream(Says("quick", before=1))
    )
    result = await run_plan({"analyzer": "a", **TREE, "workers": [hasty, {"workers": [waits, "y"]}]}, models)
    assert len(models["a"].calls) <= 2
    assert [call.request.sampling.temperature for call in models["x"].calls] == [0.3]
    assert result.delivered == "the final answer"


@pytest.mark.requirement("W3")
@on_trio
async def test_other_analyzers_are_asked_themselves() -> None:
    waits = {"ref": "x", "auto_temperature": True}
    own = {"workers": [waits], "analyzer": {"ref": "a", "temperature": 0.9}}
    models = fake_models()
    await run_plan({"analyzer": "a", **TREE, "workers": [own, waits]}, models)
    assert len(models["a"].calls) == 2
