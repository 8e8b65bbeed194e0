"""The node kind `reranker`: scores each candidate alone, so that position cannot matter (W6, W12).

`{"kind": "reranker", "ref": NAME, "timeout_secs"?: seconds}`. A model with the capability `rerank`
is asked over its `/rerank` endpoint, once; any other is asked for a score from 0 to 10 for each
candidate, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from chorus.cancellation import cancelled_with
from chorus.errors import ChorusError, LLMError, UpstreamTimeout
from chorus.llm.counts import text_estimate
from chorus.llm.rerank import RerankCall, Reranker
from chorus.types import Answer
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.workflow.judging import prompts
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.temperature import judge as judge_temperature
from chorus.workflow.judging.verdict import read_score
from chorus.workflow.model import Model
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import judging
from chorus.workflow.stage import Stage


@dataclass(frozen=True, slots=True)
class Scored:
    """See `custom.Ranking`."""

    scores: Sequence[float]
    reason: str


class RerankerKind:
    """See `custom.SelectorKind`."""

    name = "reranker"
    asks_each = True

    def problems(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """See `NodeKind.problems`."""
        problems = [
            f"unknown key `{key}` of a reranker" for key in spec if key not in ("kind", "ref", "name", "timeout_secs")
        ]
        if not isinstance(spec.get("ref"), str) or not spec["ref"]:
            problems.append("a reranker needs `ref`, the model that scores")
        limit = spec.get("timeout_secs", 1)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0:
            problems.append("`timeout_secs` of a reranker: expected a number above 0")
        return problems

    def refs(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """See `NodeKind.refs`."""
        ref = spec.get("ref")
        return (ref,) if isinstance(ref, str) else ()

    async def rank(self, context: NodeContext, spec: Mapping[str, JSON], candidates: Sequence[Answer]) -> Scored:
        """See `SelectorKind.rank`."""
        model = context.models[spec["ref"]]
        limit = spec.get("timeout_secs", model.timeouts.selector)
        if model.reranker is not None:
            return await _by_endpoint(context, model, model.reranker, candidates, limit)
        return await _one_by_one(context, model, candidates, limit)


async def _by_endpoint(
    context: NodeContext, model: Model, reranker: Reranker, candidates: Sequence[Answer], limit: float
) -> Scored:
    questions = [message.text for message in context.request.messages if message.role == "user"]
    question = questions[-1] if questions else ""
    documents = [prompts.shown(candidate) for candidate in candidates]
    with context.stage("rerank", model.name) as stage:
        stage.queued()
        with anyio.move_on_after(limit):
            call = RerankCall(
                question,
                documents,
                context.headers(stage),
                priority=context.request.priority,
                attempting=stage.attempting,
            )
            scores = await reranker.rerank(call)
            # a cross-encoder reads the question with each document
            tokens = text_estimate([question]) * len(documents) + text_estimate(documents)
            context.count_call(stage, model.priced(Usage(tokens, estimated=True)))
            return Scored(scores, f"'{model.name}' scored it highest.")
        raise UpstreamTimeout(f"Model '{model.name}' did not rank the candidates within {limit:g} s")


async def _one_by_one(context: NodeContext, model: Model, candidates: Sequence[Answer], limit: float) -> Scored:
    """Return a score for each candidate; one that could not be scored stands below the others.

    Raises:
        LLMError: none could be scored.
    """
    read: dict[int, tuple[float, str]] = {}
    failures: list[ChorusError] = []
    node = Leaf(model.name, "score")
    temperature = judge_temperature(node, model.temperature)

    async def score(index: int, stage: Stage) -> None:
        try:
            read[index] = await _score(context, stage, node, model, candidates[index], limit)
        except ChorusError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for index in range(len(candidates)):
            stage = context.stage(f"score {index + 1}", model.name, temperature)
            group.start_soon(cancelled_with, group.cancel_scope, score, index, stage)
    if not read:
        raise failures[0]
    lowest = min(score for score, _ in read.values()) - 1
    best = max(read, key=lambda index: (read[index][0], -index))
    return Scored([read[index][0] if index in read else lowest for index in range(len(candidates))], read[best][1])


async def _score(
    context: NodeContext, stage: Stage, node: Leaf, model: Model, candidate: Answer, limit: float
) -> tuple[float, str]:
    """Return the score of one candidate and the reason for it."""
    mark = new_word()
    ours = prompts.scorer(Labelled("A", candidate), new_word(), mark)
    request = judging(
        context.request, node, model, judge_temperature(node, model.temperature).value, ours, prompts.SCORE_SCHEMA
    )
    with stage:
        answer = await context.ask(model.name, request, stage=stage, timeout=limit)
        try:
            score, reason = read_score(answer.text, mark)
        except Unreadable as problem:
            raise LLMError(f"The score is unusable: {problem}") from None
        stage.finish(details={"score": score, "reasoning": reason})
        return score, reason


RERANKER = RerankerKind()
