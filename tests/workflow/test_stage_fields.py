"""What the events of a stage say in fields: its place among the workers, its attempts, its wait for
a slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from chorus.errors import QueueTimeout, UpstreamProtocol
from chorus.events import StageFinished, StageStarted
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.fake import Fails, FakeUpstream, Hangs, Says
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.workflow.model import Model
from tests.workflow.running import QUESTION, RunResult, fake_models, on_trio, run_plan


def started(result: RunResult, stage: str = "worker") -> list[StageStarted]:
    stages = [event for event in result.events if isinstance(event, StageStarted) and event.stage == stage]
    return sorted(stages, key=lambda started: started.index)


@on_trio
async def test_a_worker_of_a_later_layer_says_which() -> None:
    result = await run_plan({"workers": ["x", "y"], "refine": {"layers": 2}, "selector": "s"}, fake_models())
    assert [(worker.name, worker.layer) for worker in started(result)] == [
        ("x", 1),
        ("y", 1),
        ("x (layer 2)", 2),
        ("y (layer 2)", 2),
    ]
    assert [worker.get("layer") for worker in result.trace["workers"]] == [None, None, 2, 2]
    assert [worker.index for worker in started(result)] == [0, 1, 2, 3]


@on_trio
async def test_a_hedge_of_a_later_layer_says_both() -> None:
    tree = {"workers": ["y"], "refine": {"workers": ["x"]}, "synthesizer": "z", "hedge": {"after_secs": 1}}
    result = await run_plan(tree, fake_models(x=FakeUpstream(Hangs(), Says("late"))))
    worker = result.trace["workers"][-1]
    assert (worker["name"], worker["layer"], worker["hedge"]) == ("x (layer 2) (hedge)", 2, True)
    assert "hedge" not in result.trace["workers"][0]


@on_trio
async def test_the_stages_of_each_answer_name_their_choice() -> None:
    result = await run_plan({"workers": ["x", "y"], "selector": "s"}, fake_models(), also=[QUESTION])
    assert {(event.path[0], event.choice) for event in result.events if isinstance(event, StageStarted)} == {
        ("0", 0),
        ("1", 1),
    }


@pytest.mark.requirement("L4")
@on_trio
async def test_every_attempt_names_its_instance() -> None:
    upstream = FakeUpstream(Fails(UpstreamProtocol("torn"), first="half of an"), Says("a whole answer"), name="x")
    model = Model("x", Pool("x", lambda at: Replica("x@fake", upstream), [ReplicaAddress()]))
    result = await run_plan({"workers": ["x"], "synthesizer": "z"}, fake_models(), models={"x": model})
    ends = [event for event in result.events if isinstance(event, StageFinished)]
    assert [(end.attempts, end.instance_id) for end in ends] == [(("x@fake",) * 2, "x@fake"), (("z@fake",), "z@fake")]
    worker = result.trace["workers"][0]
    assert (worker["attempts"], worker["instances"]) == (2, ["x@fake", "x@fake"])
    assert "instances" not in result.trace["synthesizer"]


@on_trio
async def test_the_time_in_a_queue_is_that_of_the_stage() -> None:
    models = {"x": FakeUpstream(Says("an answer", before=3)), "z": FakeUpstream()}
    result = await run_plan({"workers": ["x"] * 3, "synthesizer": "z"}, models, max_parallel=1)
    waits = sorted(event.queue_secs for event in result.events if isinstance(event, StageFinished))
    assert waits == pytest.approx([0, 0, 3, 6])
    assert sorted(worker.get("queue_ms", 0) for worker in result.trace["workers"]) == pytest.approx([0, 3000, 6000])


class FullQueue:
    """An upstream whose slots stay taken."""

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        await anyio.sleep(5)
        raise QueueTimeout("no slot became free in time", retry_after=1)
        yield


@on_trio
async def test_a_call_that_is_never_sent_has_waited_until_its_end() -> None:
    tree = {"workers": ["x", "y"], "selector": "s"}
    result = await run_plan(tree, fake_models(), models={"x": Model("x", FullQueue())})
    worker = result.trace["workers"][0]
    assert (worker["attempts"], worker["queue_ms"], worker["status"]) == (0, 5000, "failed")
