"""Kinds of nodes as a package writes them: what they touch keeps its types, and what is not theirs
stays shut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from chorus.errors import ChorusError
from chorus.types import Answer, ChatRequest, Message
from chorus.wirejson import JSON
from chorus.workflow.kinds import NodeKind
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.nodes.custom import Ranking, SelectorKind, WorkerKind


@dataclass(frozen=True)
class Scored:
    scores: Sequence[float]
    reason: str


class Twice:
    """A worker that asks its model for a draft, then for a better one.

    And a selector that draws lots.
    """

    name = "twice"

    def problems(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        return [] if isinstance(spec.get("ref"), str) else ["`ref` is missing"]

    def refs(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        return [spec["ref"]]

    async def answer(self, context: NodeContext, spec: Mapping[str, JSON]) -> Answer:
        request: ChatRequest = context.request
        draft = await context.ask(spec["ref"], request)
        better = Message("user", f"Improve this answer: {draft.text}")
        request = msgspec.structs.replace(request, messages=(*request.messages, better))
        with context.stage("improve", spec["ref"]) as stage:
            answer = await context.ask(spec["ref"], request, stage=stage, timeout=30.0)
            stage.finish(answer=answer, details={"draft": draft.text})
        if not answer.text:
            raise ChorusError(f"Request {context.request_id}: nothing came")
        return answer

    async def rank(self, context: NodeContext, spec: Mapping[str, JSON], candidates: Sequence[Answer]) -> Scored:
        rng: Random = context.rng
        known: bool = "tools" in context.models[spec["ref"]].capabilities
        return Scored([rng.random() for _ in candidates], "The lot fell on it." if known else "")


kind: NodeKind = Twice()
worker: WorkerKind = Twice()
selector: SelectorKind = Twice()
ranking: Ranking = Scored((), "")


def a_context_is_read_only(context: NodeContext, other: ChatRequest) -> None:
    context.request = other  # type: ignore[misc]
    context.rng = Random(1)  # type: ignore[misc]
    context.models["x"] = context.models["y"]  # type: ignore[index]
