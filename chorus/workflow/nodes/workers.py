"""All workers of a workflow, side by side (W1, W3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import structlog

from chorus.errors import ChorusError
from chorus.events import Fault, Path
from chorus.types import Answer
from chorus.workflow.base import Run, fault_of
from chorus.workflow.nodes import analyzer, worker
from chorus.workflow.plan import Custom, Flow, Leaf, Node
from chorus.workflow.temperature import awaits_analysis
from chorus.workflow.verdict import Analysis

_log = structlog.get_logger("chorus.workflow")

Nested = Callable[[Run, Path, Flow], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the worker at `index`: an answer, or the reason why there is none."""

    index: int
    label: str
    answer: Answer | None = None
    fault: Fault | None = None


async def gather(run: Run, path: Path, flow: Flow, nested: Nested) -> Sequence[Outcome]:
    """Run the analyzer and every worker of `flow`; `nested` runs a worker that is a workflow.

    A worker whose temperature does not depend on the analyzer starts while the analyzer runs; an analyzer for which
    nobody waits any more is cancelled. One worker's failure is its own.
    """
    outcomes: list[Outcome | None] = [None] * len(flow.workers)
    analysis = Analysis()
    analyzed = anyio.Event()

    async def analyze(node: Leaf) -> None:
        nonlocal analysis
        try:
            analysis = await analyzer.analyze(run, (*path, "analyzer"), node)
        finally:
            analyzed.set()

    async def answer(index: int, node: Node) -> Answer:
        here = (*path, str(index))
        if isinstance(node, Flow):
            with run.stage(here, "worker", node.label) as stage:
                merged = await nested(run, here, node)
                stage.finish(answer=merged)
                return merged
        if isinstance(node, Custom):
            return await worker.delegate(run, here, node)
        suggested = None
        if awaits_analysis(node, run.models[node.ref].temperature, run.request.sampling.temperature):
            await analyzed.wait()
            suggested = analysis.temperature
        return await worker.ask(run, here, node, suggested)

    async def supervise(index: int, node: Node) -> None:
        try:
            outcomes[index] = Outcome(index, node.label, await answer(index, node))
        except ChorusError as error:
            outcomes[index] = Outcome(index, node.label, fault=fault_of(error))
        except Exception as error:  # whatever a node does wrong must not take the other workers down (W2)
            _log.error("worker crashed", worker=node.label, request_id=run.request_id, exc_info=error)
            outcomes[index] = Outcome(index, node.label, fault=fault_of(error))

    async with anyio.create_task_group() as judges:
        if flow.analyzer is None:
            analyzed.set()
        else:
            judges.start_soon(analyze, flow.analyzer)
        async with anyio.create_task_group() as workers:
            for index, node in enumerate(flow.workers):
                workers.start_soon(supervise, index, node)
        judges.cancel_scope.cancel()
    return [outcome for outcome in outcomes if outcome is not None]
