"""What a node of a registered kind may do: ask models and open stages, within the bounds of the
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.types import Answer
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.run import Budget
from tests.typing.node_kinds import Twice
from tests.workflow.running import QUESTION, fake_models, on_trio, run_plan

pytestmark = pytest.mark.requirement("W12")
TREE: dict[str, Any] = {"workers": [{"kind": "twice", "ref": "w"}, "x"], "selector": "s", "synthesizer": "z"}
KINDS = {"twice": Twice()}


class Lost(Twice):
    """A worker that asks a model which nobody configured."""

    async def answer(self, context: NodeContext, spec: Mapping[str, Any]) -> Answer:
        return await context.ask("nobody", context.request)


@on_trio
async def test_a_node_asks_its_model_as_often_as_it_likes_and_each_call_is_a_stage() -> None:
    drafts = FakeUpstream(Says("a draft"), Says("the right answer"), name="w")
    result = await run_plan(TREE, fake_models(w=drafts), kinds=KINDS)
    node = result.trace["workers"][0]
    assert node["response"] == "the right answer"
    stages = node["nested"]["workers"]
    assert [(stage["name"], stage["model"], stage["attempts"]) for stage in stages] == [
        ("w", "w", 1),
        ("improve", "w", 1),
    ]
    assert stages[1]["draft"] == "a draft"
    assert node["nested"]["usage"]["total_tokens"] == 30
    assert drafts.calls[0].request == QUESTION


@on_trio
async def test_a_node_that_asks_an_unknown_model_is_one_failed_worker() -> None:
    result = await run_plan(TREE, fake_models(w=FakeUpstream()), kinds={"twice": Lost()})
    assert "'nobody', which is not configured" in result.trace["workers"][0]["error"]["message"]
    assert result.delivered == "the final answer"


@on_trio
async def test_calls_of_a_node_end_at_the_limit_of_its_model_for_workers() -> None:
    result = await run_plan(TREE, fake_models(w=FakeUpstream(Hangs())), kinds=KINDS)
    assert result.trace["workers"][0]["nested"]["workers"][0]["status"] == "timeout"
    assert result.delivered == "the final answer"


@on_trio
async def test_the_budget_of_the_run_bounds_the_calls_of_a_node() -> None:
    drafts = FakeUpstream(Says("a draft"), name="w")
    tree = {"workers": [{"kind": "twice", "ref": "w"}], "synthesizer": "z"}
    result = await run_plan(tree, fake_models(w=drafts), kinds=KINDS, budget=Budget(max_total_tokens=10))
    assert len(drafts.calls) == 1
    assert result.failed.error.code == "all_workers_failed"


@on_trio
async def test_a_selector_draws_from_the_seed_of_the_run() -> None:
    tree = {"workers": ["x", "y"], "selector": {"kind": "twice", "ref": "s"}}

    async def scores(seed: int) -> Sequence[float]:
        trace = (await run_plan(tree, fake_models(), kinds=KINDS, seed=seed)).trace
        return sorted(trace["selector"]["scores"].values())

    assert await scores(1) == await scores(1) != await scores(2)
