"""The selector: picks the best candidate and says why (W1, W6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from chorus.errors import ChorusError
from chorus.events import Fault, Path
from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow import prompts, temperature, verdict
from chorus.workflow.base import Run, Stage, fault_of
from chorus.workflow.converse import converse
from chorus.workflow.nodes.workers import Outcome
from chorus.workflow.plan import Leaf
from chorus.workflow.prompts import Labelled
from chorus.workflow.requests import judging


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate, as a position in the list of candidates; `judged` is False where a rule chose."""

    position: int
    reason: str = ""
    judged: bool = True
    scores: dict[int, float] = field(default_factory=dict)


async def select(run: Run, path: Path, node: Leaf, candidates: Sequence[Outcome]) -> Selection:
    """Ask the selector, who sees the candidates under neutral labels in an order drawn from the run's seed.

    Raises nothing but cancellation: where the judge fails or cannot be read, the candidate that agrees most with the
    others is taken and the stage is recorded as `fallback` (W2).
    """
    model = run.models[node.ref]
    heat = temperature.judge(node, model.temperature)
    order = list(range(len(candidates)))
    run.rng.shuffle(order)
    labels = [prompts.label(position) for position in range(len(order))]
    blocks = [Labelled(label, answer_of(candidates[i])) for label, i in zip(labels, order, strict=True)]
    ours = prompts.selector(blocks, key=f"{run.rng.getrandbits(48):012x}")
    request = judging(run.request, node, model, heat.value, ours, prompts.verdict_schema(labels))
    with run.stage(path, "selector", node.label, model.name, heat) as stage:
        timeout = node.timeout_secs or model.timeouts.selector
        try:
            answer = await converse(run, stage, model, request, timeout=timeout, stream=False)
            seen = verdict.read_verdict(answer.text, labels)
        except verdict.Unreadable as problem:
            return _fall_back(stage, candidates, Fault("unreadable", f"The verdict is unusable: {problem}"))
        except ChorusError as error:
            return _fall_back(stage, candidates, fault_of(error))
        scores = {order[shown]: score for shown, score in seen.scores.items()}
        selection = Selection(order[seen.choice], seen.reason, True, scores)
        stage.finish(answer=answer, details=_details(selection, candidates, [candidates[i].label for i in order]))
        return selection


def skip(run: Run, path: Path, node: Leaf, candidates: Sequence[Outcome], reason: str) -> Selection:
    """Record that the only candidate was taken without asking the judge."""
    selection = Selection(0, reason, judged=False)
    with run.stage(path, "selector", node.label, node.ref) as stage:
        stage.finish("skipped", details=_details(selection, candidates))
    return selection


def _fall_back(stage: Stage, candidates: Sequence[Outcome], fault: Fault) -> Selection:
    selection = by_agreement(candidates)
    stage.finish("fallback", fault=fault, details=_details(selection, candidates))
    return selection


def by_agreement(candidates: Sequence[Outcome]) -> Selection:
    """The candidate that shares most words with the others, whole answers before cut ones, ties to the earlier: the best
    rule that remains without a judge."""
    words = [_words(prompts.shown(answer_of(candidate))) for candidate in candidates]

    def agreement(position: int) -> tuple[bool, float]:
        mine = words[position]
        shared = sum(len(mine & other) / (len(mine | other) or 1) for i, other in enumerate(words) if i != position)
        return answer_of(candidates[position]).finish_reason != "length", shared

    best = max(range(len(candidates)), key=lambda position: (*agreement(position), -position))
    return Selection(best, "No judge decided; this candidate agrees most with the others.", judged=False)


def _words(text: str) -> frozenset[str]:
    """Lower-case words; each Chinese or Japanese character counts as one."""
    return frozenset(re.findall(r"[^\W\d_⺀-鿿]+|\d+(?:\.\d+)?|[⺀-鿿]", text.lower()))


def answer_of(candidate: Outcome) -> Answer:
    """The answer of an outcome that is a candidate."""
    assert candidate.answer is not None
    return candidate.answer


def _details(selection: Selection, candidates: Sequence[Outcome], order_shown: Sequence[str] = ()) -> dict[str, JSON]:
    chosen = candidates[selection.position]
    details: dict[str, JSON] = {
        "selected_index": chosen.index,
        "selected_worker": chosen.label,
        "reasoning": selection.reason,
        "scores": {candidates[i].label: score for i, score in sorted(selection.scores.items())},
    }
    if order_shown:
        details["order_shown"] = list(order_shown)
    return details
