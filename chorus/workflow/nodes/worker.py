"""A worker: one model, nested workflow or node of another kind that answers the request."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from chorus.errors import ChorusError
from chorus.events import Path
from chorus.types import Answer
from chorus.workflow.call_model import call_model, check_not_empty
from chorus.workflow.judging import temperature
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.nodes.custom import WorkerKind
from chorus.workflow.plan import Custom, Leaf
from chorus.workflow.requests import addressed
from chorus.workflow.run import Run
from chorus.workflow.stage import NO_PLACE, Place, Stage


def _ignore(stage: Stage) -> None:
    """Do nothing: the default of `ask`'s `entered`."""


async def ask(
    run: Run,
    path: Path,
    node: Leaf,
    suggested: float | None,
    *,
    label: str | None = None,
    place: Place = NO_PLACE,
    output: bool = False,
    entered: Callable[[Stage], None] = _ignore,
) -> Answer:
    """Return the answer of one model to the client's conversation. `entered` is called with the
    stage when it begins.

    Raises:
        ChorusError: the model failed, or answered nothing at all.
    """
    model = run.models[node.ref]
    chosen_temperature = temperature.worker(node, model.temperature, run.request.sampling.temperature, suggested)
    with run.stage(path, "worker", label or node.label, model.name, chosen_temperature, place=place) as stage:
        entered(stage)
        request = addressed(run.request, node, chosen_temperature.value)
        timeout = node.timeout_secs or model.timeouts.worker
        answer = await call_model(run, stage, model, request, timeout=timeout, output=output)
        check_not_empty(model, answer)
        stage.finish(answer=answer)
        return answer


async def delegate(run: Run, path: Path, node: Custom, place: Place) -> Answer:
    """Return the answer of a node of a registered kind (W12).

    Raises:
        ChorusError: it has none, or not before the run's deadline.
    """
    kind = run.kinds[node.kind]
    assert isinstance(kind, WorkerKind)
    with run.stage(path, "worker", node.label, place=place) as stage:
        run.check()
        with anyio.CancelScope(deadline=run.deadline) as limit:
            answer = await kind.answer(NodeContext(run, path, "worker"), node.spec)
        if limit.cancelled_caught:
            raise run.late()
        if not isinstance(answer, Answer):
            raise ChorusError(f"The node kind '{node.kind}' returned no answer")
        stage.finish(answer=answer)
        return answer
