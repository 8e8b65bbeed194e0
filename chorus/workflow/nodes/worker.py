"""A worker: one model, nested workflow or node of another kind that answers the request."""

from __future__ import annotations

from chorus.errors import ChorusError, UpstreamProtocol
from chorus.events import Path
from chorus.types import Answer
from chorus.workflow import temperature
from chorus.workflow.base import Run
from chorus.workflow.converse import converse
from chorus.workflow.plan import Custom, Leaf
from chorus.workflow.requests import addressed


async def ask(run: Run, path: Path, node: Leaf, suggested: float | None) -> Answer:
    """The answer of one model to the client's conversation.

    Raises:
        LLMError: the model failed, or answered nothing at all.
    """
    model = run.models[node.ref]
    heat = temperature.worker(node, model.temperature, run.request.sampling.temperature, suggested)
    with run.stage(path, "worker", node.label, model.name, heat) as stage:
        request = addressed(run.request, node, heat.value)
        answer = await converse(run, stage, model, request, timeout=node.timeout_secs or model.timeouts.worker)
        if not answer.text.strip() and not answer.tool_calls:
            raise UpstreamProtocol(f"Model '{model.name}' answered with nothing")
        stage.finish(answer=answer)
        return answer


async def delegate(run: Run, path: Path, node: Custom) -> Answer:
    """The answer of a node of a registered kind (W12).

    Raises:
        ChorusError: it has none.
    """
    with run.stage(path, "worker", node.label) as stage:
        answer = await run.kinds[node.kind].answer(run, path, node.spec)
        if not isinstance(answer, Answer):
            raise ChorusError(f"The node kind '{node.kind}' returned no answer")
        stage.finish(answer=answer)
        return answer
