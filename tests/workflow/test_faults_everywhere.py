"""Every stage broken in every way, at every depth.

Deadline and budget in every stage: no run hangs, none lacks a trace, and an answer comes wherever
there is a candidate (W2, W11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from chorus.errors import AllWorkersFailed, BudgetSpent, DeadlineExceeded, UpstreamConnect, UpstreamProtocol
from chorus.events import RunFailed, RunFinished, StageFinished, StageStarted
from chorus.llm.fake import Behaviour, Fails, FakeUpstream, Hangs, Says
from chorus.types import Answer, Timeouts
from chorus.workflow.kinds import installed
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.run import Budget
from tests.workflow.running import RunResult, judge, on_trio, run_plan

pytestmark = pytest.mark.slow  # 240 runs of a whole workflow

TIMES = Timeouts(analyzer=5, worker=10, selector=7, synthesizer=8)
WAYS: dict[str, Behaviour] = {
    "fails": Fails(UpstreamConnect("away")),
    "breaks": Fails(UpstreamProtocol("torn"), first="half of"),
    "hangs": Hangs(),
    "stalls": Hangs("half of"),
    "garbage": Says("}{ no sense ]["),
    "nothing": Says(""),
}


class Kind:
    """A node of a registered kind, a worker and a selector in one, that does what its model
    does.
    """

    name = "kind"

    def problems(self, spec: Mapping[str, Any]) -> Sequence[str]:
        return []

    def refs(self, spec: Mapping[str, Any]) -> Sequence[str]:
        return [spec["ref"]]

    async def answer(self, context: NodeContext, spec: Mapping[str, Any]) -> Answer:
        return await context.ask(spec["ref"], context.request)

    async def rank(self, context: NodeContext, spec: Mapping[str, Any], candidates: Sequence[Answer]) -> Any:
        raise RuntimeError(await self.answer(context, spec))


KINDS = {**installed(), "kind": Kind()}
WAITS = {"ref": "x", "auto_temperature": True}
STAGES: dict[str, tuple[dict[str, Any], str]] = {
    "analyzer": ({"analyzer": "a", "workers": [WAITS, "y"], "selector": "s", "synthesizer": "z"}, "a"),
    "worker": ({"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}, "y"),
    "selector": ({"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}, "s"),
    "selector alone": ({"workers": ["x", "y"], "selector": "s", "synthesizer": None}, "s"),
    "passes": ({"workers": ["x", "y"], "selector": {"ref": "s", "passes": 3}, "synthesizer": "z"}, "s"),
    "reranker": ({"workers": ["x", "y"], "selector": {"kind": "reranker", "ref": "s"}, "synthesizer": "z"}, "s"),
    "synthesizer": ({"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}, "z"),
    "synthesizer alone": ({"workers": ["x", "y"], "synthesizer": "z"}, "z"),
    "hedge": ({"workers": ["x", "h"], "selector": "s", "hedge": {"after_secs": 1, "to": "y"}}, "y"),
    "samples": ({"workers": ["x", {"ref": "y", "samples": 5}], "selector": "s", "synthesizer": "z"}, "y"),
    "second layer": ({"workers": ["x"], "refine": {"workers": ["y", "x"]}, "selector": "s", "synthesizer": "z"}, "y"),
    "whole layer": ({"workers": ["x"], "refine": {"workers": ["y"]}, "selector": "s", "synthesizer": "z"}, "y"),
    "direct": ({"analyzer": "a", "workers": ["x"], "difficulty": {"easy": "y"}, "synthesizer": "z"}, "y"),
    "registered worker": ({"workers": ["x", {"kind": "kind", "ref": "y"}], "selector": "s", "synthesizer": "z"}, "y"),
    "registered selector": ({"workers": ["x", "y"], "selector": {"kind": "kind", "ref": "s"}, "synthesizer": "z"}, "s"),
    "all workers": ({"workers": ["y", "y"], "selector": "s", "synthesizer": "z"}, "y"),
}
"""A workflow with the stage, and the model to break."""
LONGEST = 3 * 2 * (5 + 10 + 10 + 7 + 8)
"""Seconds: more than all timeouts of three levels, each stage twice, one after the other."""


DEPTHS = (1, 2, 3)


def cases(values: Iterable[object]) -> list[ParameterSet]:
    """Each stage with each value at one depth, each stage and each value at each depth.

    The other two thirds are left to `make test-slow`.
    """
    return [
        pytest.param(stage, value, depth, marks=() if (place + number) % 3 == depth - 1 else pytest.mark.very_slow)
        for place, stage in enumerate(STAGES)
        for number, value in enumerate(values)
        for depth in DEPTHS
    ]


def nested(tree: dict[str, Any], depth: int) -> dict[str, Any]:
    """`tree` so deep, each level with a worker and judges of its own."""
    for _ in range(depth - 1):
        tree = {"workers": [tree], "selector": None, "synthesizer": "well"}
    return tree


def models(**broken: Behaviour) -> dict[str, FakeUpstream]:
    well: dict[str, Behaviour] = {
        "a": Says('{"task_type": "maths", "temperature": 0.1, "difficulty": "easy"}', before=1),
        "x": Says("the right answer", before=2),
        "y": Says("a wrong answer", before=2),
        "h": Hangs(),
        "s": Says(judge().text, before=1),
        "z": Says("the final answer", before=1),
        "well": Says("the final answer"),
    }
    return {name: FakeUpstream(behaviour, name=name) for name, behaviour in (well | broken).items()}


def check(result: RunResult, upstreams: dict[str, FakeUpstream]) -> None:
    """What holds of every run, whatever happened in it."""
    ends = [event for event in result.events if isinstance(event, RunFinished | RunFailed)]
    assert ends == [result.events[-1]]
    assert ends[0].at <= LONGEST
    began = [event.path for event in result.events if isinstance(event, StageStarted)]
    ended = [event.path for event in result.events if isinstance(event, StageFinished)]
    assert sorted(began) == sorted(ended)
    assert {name: each.open_calls for name, each in upstreams.items() if each.open_calls} == {}
    assert result.trace["status"] in ("ok", "degraded", "failed")


def reasons(result: RunResult) -> set[str]:
    return {error["code"] for error in result.trace["errors"]}


@pytest.mark.parametrize(("stage", "way", "depth"), cases(WAYS))
@pytest.mark.requirement("W2")
def test_a_broken_stage(stage: str, way: str, depth: int) -> None:
    @on_trio
    async def test() -> None:
        tree, name = STAGES[stage]
        upstreams = models(**{name: WAYS[way]})
        result = await run_plan(nested(tree, depth), upstreams, kinds=KINDS, timeouts=TIMES)
        check(result, upstreams)
        over = result.events[-1]
        # a text like any other, for all that the engine can tell
        is_sense = way == "garbage" and name in ("y", "z")
        if stage == "all workers" and not is_sense:
            assert isinstance(over, RunFailed)
            assert isinstance(over.error, AllWorkersFailed)
        elif isinstance(over, RunFailed):  # only an output that the client has begun to read
            assert (name, depth) in (("z", 1), ("y", 1))
            assert way in ("breaks", "stalls")
        else:
            assert result.delivered
            assert over.answers[0].text == result.delivered
        if not is_sense:
            assert reasons(result)
            assert result.trace["status"] in ("degraded", "failed")

    test()


@pytest.mark.parametrize(("stage", "total", "depth"), cases((0.5, 1.5, 2.5, 3.5)))
@pytest.mark.requirement("W11")
def test_the_deadline_in_every_stage(stage: str, total: float, depth: int) -> None:
    @on_trio
    async def test() -> None:
        tree, _ = STAGES[stage]
        upstreams = models()
        result = await run_plan(nested(tree, depth), upstreams, kinds=KINDS, timeouts=TIMES, total=total)
        check(result, upstreams)
        over = result.events[-1]
        assert over.at <= total
        if isinstance(over, RunFailed):
            assert isinstance(over.error, DeadlineExceeded)
            assert over.at == total
        else:
            assert result.delivered
            assert over.at < total or "deadline_exceeded" in reasons(result)

    test()


@pytest.mark.parametrize(("stage", "calls", "depth"), cases(range(1, 6)))
@pytest.mark.requirement("W11")
def test_the_budget_spent_before_every_stage(stage: str, calls: int, depth: int) -> None:
    @on_trio
    async def test() -> None:
        tree, _ = STAGES[stage]
        upstreams = models()
        budget = Budget(max_total_tokens=15 * calls)
        result = await run_plan(nested(tree, depth), upstreams, kinds=KINDS, timeouts=TIMES, budget=budget)
        check(result, upstreams)
        over = result.events[-1]
        if isinstance(over, RunFailed):
            assert isinstance(over.error, AllWorkersFailed | BudgetSpent)
            assert "budget_spent" in reasons(result)
        else:
            assert result.delivered
            side_by_side = 5  # calls that had begun when it was spent
            assert over.usage.total_tokens <= 15 * (calls + side_by_side)

    test()
