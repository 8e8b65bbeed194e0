"""The selector: picks the best candidate and says why (W1, W6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import anyio
import structlog

from chorus.cancellation import cancelled_with
from chorus.errors import ChorusError, LLMError
from chorus.events import Fault, Path
from chorus.workflow.call_model import call_model
from chorus.workflow.judging import borda, length, prompts, temperature
from chorus.workflow.judging.borda import Ballot
from chorus.workflow.judging.length import LengthControl
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.verdict import Verdict, read_verdict
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.nodes.custom import SelectorKind
from chorus.workflow.nodes.results import WorkerResult
from chorus.workflow.nodes.selection import Selection, by_agreement
from chorus.workflow.plan import Custom, Leaf
from chorus.workflow.requests import judging
from chorus.workflow.run import Run
from chorus.workflow.stage import Stage, fault_of

_log = structlog.get_logger("chorus.workflow")

_CORRECTED: Final = "It has the highest score once the effect of length is taken out."


async def select(
    run: Run,
    path: Path,
    node: Leaf | Custom,
    candidates: Sequence[WorkerResult],
    *,
    passes: int,
    length_effect: float | None,
    notes: bool,
) -> Selection:
    """Ask the selector `passes` times, each time with the candidates in another order (W6).

    The candidates have neutral labels. `length_effect` is taken out of each pass's scores
    (`judging/length.py`). `notes` asks for what a synthesizer can use.

    Raises nothing but cancellation: where the judge fails or cannot be read, the candidate that
    agrees most with the others is taken and the stage is recorded as `fallback` (W2).
    """
    if isinstance(node, Custom):
        return await _rank(run, path, node, candidates)
    orders = borda.orders(len(candidates), passes, run.rng)
    if passes == 1:
        return await _judge(run, path, node, candidates, orders[0], length_effect=length_effect, notes=notes)
    return await _judge_often(run, path, node, candidates, orders, length_effect=length_effect, notes=notes)


def skip(
    run: Run, path: Path, node: Leaf | Custom, candidates: Sequence[WorkerResult], position: int, reason: str
) -> Selection:
    """Record that a candidate was taken without asking the judge."""
    selection = Selection(position, reason, judged=False)
    with run.stage(path, "selector", node.label, node.ref if isinstance(node, Leaf) else None) as stage:
        stage.finish("skipped", details=selection.details(candidates))
    return selection


async def _judge(
    run: Run,
    path: Path,
    node: Leaf,
    candidates: Sequence[WorkerResult],
    order: Sequence[int],
    *,
    length_effect: float | None,
    notes: bool,
) -> Selection:
    model = run.models[node.ref]
    chosen_temperature = temperature.judge(node, model.temperature)
    with run.stage(path, "selector", node.label, model.name, chosen_temperature) as stage:
        try:
            verdict = await _ask(run, stage, node, candidates, order, notes=notes)
        except ChorusError as error:
            return _fall_back(stage, candidates, error)
        selection = _selection(verdict, order, candidates, length_effect)
        stage.finish(details=selection.details(candidates))
        return selection


async def _judge_often(
    run: Run,
    path: Path,
    node: Leaf,
    candidates: Sequence[WorkerResult],
    orders: Sequence[Sequence[int]],
    *,
    length_effect: float | None,
    notes: bool,
) -> Selection:
    """Return the selection of several parallel passes, each a stage below `path`.

    Those that fail do not count.
    """
    read: list[Selection | None] = [None] * len(orders)
    failures: list[ChorusError] = []
    model = run.models[node.ref]
    chosen_temperature = temperature.judge(node, model.temperature)

    async def judge(number: int) -> None:
        try:
            with run.stage(
                (*path, str(number)), "selector", f"pass {number + 1}", model.name, chosen_temperature
            ) as stage:
                verdict = await _ask(run, stage, node, candidates, orders[number], notes=notes)
                vote = read[number] = _selection(verdict, orders[number], candidates, length_effect)
                stage.finish(details=vote.details(candidates))
        except ChorusError as error:
            failures.append(error)

    with run.stage(path, "selector", node.label, model.name, chosen_temperature) as stage:
        async with anyio.create_task_group() as group:
            for number in range(len(orders)):
                group.start_soon(cancelled_with, group.cancel_scope, judge, number)
        votes = [vote for vote in read if vote is not None]
        if not votes:
            return _fall_back(stage, candidates, failures[0])
        ballots = [Ballot(vote.position, vote.ranking, vote.scores) for vote in votes]
        counted = borda.count(ballots, len(candidates))
        # the reason and the notes are those of a pass that agrees with the outcome
        agreeing = next((vote for vote in votes if vote.position == counted.winner), votes[0])
        selection = Selection(
            counted.winner,
            agreeing.reason,
            scores=counted.scores,
            ranking=tuple(sorted(range(len(candidates)), key=lambda position: -counted.points[position])),
            confidence=counted.confidence,
            decisive=all(vote.decisive and vote.position == counted.winner for vote in votes),
            notes=agreeing.notes,
            order=agreeing.order,
            length=_of_passes([vote.length for vote in votes if vote.length is not None], counted.winner),
        )
        stage.finish(details=selection.details(candidates))
        return selection


class _Unreadable(LLMError):
    """The judge's answer holds no verdict."""

    code = "unreadable"


async def _ask(
    run: Run, stage: Stage, node: Leaf, candidates: Sequence[WorkerResult], order: Sequence[int], *, notes: bool
) -> Verdict:
    """Return one verdict. Raises ChorusError when there is none."""
    model = run.models[node.ref]
    chosen_temperature = temperature.judge(node, model.temperature)
    labels = [prompts.label(position) for position in range(len(order))]
    blocks = [Labelled(label, candidates[i].whole) for label, i in zip(labels, order, strict=True)]
    mark = new_word()
    ours = prompts.selector(blocks, new_word(), mark, notes=notes)
    schema = prompts.verdict_schema(labels, notes=notes)
    request = judging(run.request, node, model, chosen_temperature.value, ours, schema)
    timeout = node.timeout_secs or model.timeouts.selector
    answer = await call_model(run, stage, model, request, timeout=timeout, stream=False)
    try:
        return read_verdict(answer.text, labels, mark)
    except Unreadable as problem:
        raise _Unreadable(f"The verdict is unusable: {problem}") from None


def _selection(
    verdict: Verdict, order: Sequence[int], candidates: Sequence[WorkerResult], length_effect: float | None
) -> Selection:
    """Return a verdict on the candidates as they were shown, in their own positions.

    Its scores are without the effect of length where there is a `length_effect`.
    """
    selection = Selection(
        order[verdict.choice],
        verdict.reason,
        scores={order[shown]: score for shown, score in verdict.scores.items()},
        ranking=tuple(order[shown] for shown in verdict.ranking),
        decisive=verdict.decisive,
        notes=verdict.notes,
        order=tuple(order),
    )
    if length_effect is None:
        return selection
    lengths = [len(prompts.shown(candidate.whole)) for candidate in candidates]
    ranking, scores, done = length.control(
        selection.position, selection.ranking, selection.scores, lengths, length_effect
    )
    selection = replace(selection, ranking=ranking, scores=scores, length=done)
    if not done.corrections or ranking[0] == selection.position:
        return selection
    # what the judge said of the one that it chose does not hold for another
    return replace(selection, position=ranking[0], reason=_CORRECTED, decisive=False)


def _of_passes(done: Sequence[LengthControl], winner: int) -> LengthControl | None:
    """Return what length control did in several passes: the correction is the same in each that has
    one. `judged` is the winner, unless no pass chose it before its scores were corrected.
    """
    if not done:
        return None
    judged = [one.judged for one in done]
    shown = next((one for one in done if one.corrections), done[0])
    return replace(shown, judged=winner if winner in judged else max(judged, key=judged.count))


async def _rank(run: Run, path: Path, node: Custom, candidates: Sequence[WorkerResult]) -> Selection:
    """Return the selection of a registered kind (W12)."""
    kind = run.kinds[node.kind]
    assert isinstance(kind, SelectorKind)
    with run.stage(path, "selector", node.label) as stage:
        try:
            run.check()
            with anyio.CancelScope(deadline=run.deadline) as limit:
                context = NodeContext(run, path, "selector")
                ranked = await kind.rank(context, node.spec, [candidate.whole for candidate in candidates])
            if limit.cancelled_caught:
                raise run.late()
            if len(ranked.scores) != len(candidates):
                raise ChorusError(f"The node kind '{node.kind}' did not score every candidate")
        except ChorusError as error:
            return _fall_back(stage, candidates, error)
        # whatever a plug-in does wrong must not cost the answers that are there (W2)
        except Exception as error:
            _log.error("selector crashed", kind=node.kind, request_id=run.request_id, exc_info=error)
            return _fall_back(stage, candidates, error)
        scores = dict(enumerate(ranked.scores))
        best = sorted(scores, key=lambda position: (-scores[position], position))
        selection = Selection(best[0], ranked.reason, scores=scores, ranking=tuple(best))
        stage.finish(details=selection.details(candidates))
        return selection


def _fall_back(stage: Stage, candidates: Sequence[WorkerResult], error: Exception) -> Selection:
    selection = by_agreement(candidates)
    fault: Fault = fault_of(error)
    stage.finish("fallback", fault=fault, details=selection.details(candidates))
    return selection
