"""Running plans on fake models: the shortest way from a tree to a trace."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio
import trio.testing

from chorus.errors import UpstreamConnect
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.llm.base import Call
from chorus.llm.fake import Fails, FakeUpstream, Says
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest, Message, Timeouts
from chorus.workflow.engine import Job, Plan, running
from chorus.workflow.kinds import NodeKind
from chorus.workflow.model import Model
from chorus.workflow.parse import parse
from chorus.workflow.plan import Flow, Leaf

QUESTION = ChatRequest("chorus", (Message("system", "Be kind."), Message("user", "How?")))


@dataclass
class RunResult:
    """What came of a run."""

    events: list[Event]

    @property
    def trace(self) -> dict[str, Any]:
        return workflow_details(self.events)

    @property
    def delivered(self) -> str:
        """The text that the client got."""
        return "".join(event.text for event in self.events if isinstance(event, Delta) and event.choice is not None)

    @property
    def finished(self) -> RunFinished:
        over = self.events[-1]
        assert isinstance(over, RunFinished), over
        return over

    @property
    def failed(self) -> RunFailed:
        over = self.events[-1]
        assert isinstance(over, RunFailed), over
        return over


def root_of(tree: object, kinds: Mapping[str, NodeKind] | None = None) -> Flow | Leaf:
    if isinstance(tree, str):
        return Leaf(tree, tree)
    flow, problems = parse(tree, label="chorus", place="tree", kinds=kinds or {})
    assert flow is not None, problems
    return flow


async def run_plan(
    tree: object,
    upstreams: Mapping[str, FakeUpstream],
    request: ChatRequest = QUESTION,
    *,
    models: Mapping[str, Model] | None = None,
    timeouts: Timeouts | None = None,
    kinds: Mapping[str, NodeKind] | None = None,
    also: Sequence[ChatRequest] = (),
    **options: Any,
) -> RunResult:
    """Run `tree` (a workflow, or the name of a single model) to its end."""
    plan = Plan("chorus", root_of(tree, kinds), seed=options.pop("seed", 7), **options)
    made = {name: Model(name, upstream, timeouts=timeouts or Timeouts()) for name, upstream in upstreams.items()}
    job = Job("wf_1", "req_1", (request, *also))
    async with running(plan, job, {**made, **(models or {})}, kinds or {}) as journal:
        await journal.ended()
        return RunResult(list(journal.events))


def on_trio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on trio's MockClock: it jumps over every wait, so a 60 s timeout takes no
    time.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        trio.run(functools.partial(test, *args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))

    return run


def judge(choose: str = "right") -> Says:
    """A judge that picks the candidate whose text holds `choose`, whatever its label."""

    def verdict(call: Call) -> str:
        text = call.request.messages[-1].text
        for block in text.split('<candidate label="')[1:]:
            if choose in block.split("</candidate")[0]:
                label = block.split('"')[0]
                return f'{{"choice": "{label}", "reason": "it is {choose}", "scores": {{"{label}": 9}}}}'
        return "none"

    return Says(verdict)


WHOLE = {
    "analyzer": "a",
    "workers": ["x", {"ref": "y", "auto_temperature": True}],
    "selector": "s",
    "synthesizer": "z",
}


def fake_models(**changes: FakeUpstream) -> dict[str, FakeUpstream]:
    """A working set of models for WHOLE, with changes."""
    return {
        "a": FakeUpstream(Says('{"task_type": "maths", "temperature": 0.1, "difficulty": "easy"}'), name="a"),
        "x": FakeUpstream(Says("a wrong answer"), name="x"),
        "y": FakeUpstream(Says("the right answer"), name="y"),
        "s": FakeUpstream(judge(), name="s"),
        "z": FakeUpstream(Says("the final answer"), name="z"),
        **changes,
    }


def failing(message: str = "gone", before: float = 0, first: str = "") -> FakeUpstream:
    return FakeUpstream(Fails(UpstreamConnect(message), before, first))
