"""A workflow: analyzer and workers, then selector, then synthesizer; at each step the next best thing (W1, W2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from chorus.errors import AllWorkersFailed
from chorus.events import Delta, Path
from chorus.types import Answer, ToolPiece
from chorus.workflow import shape
from chorus.workflow.base import Run
from chorus.workflow.nodes import selector, synthesizer, workers
from chorus.workflow.nodes.selector import Selection, answer_of
from chorus.workflow.nodes.workers import Outcome
from chorus.workflow.plan import Flow
from chorus.workflow.shape import Shape


async def perform(run: Run, path: Path, flow: Flow, *, voice: bool = False) -> Answer:
    """The answer of `flow`; `voice` tells whether it is the outward one, whose words the client reads.

    Raises:
        AllWorkersFailed: there is no candidate.
        ChorusError: the voice failed after its first token.
    """
    outcomes = await workers.gather(run, path, flow, perform)
    candidates = [outcome for outcome in outcomes if outcome.answer is not None]
    if not candidates:
        raise AllWorkersFailed([(o.label, o.fault.code, o.fault.message) for o in outcomes if o.fault is not None])
    form = shape.wanted(run.request)
    if form is not None:
        candidates = _fitting(candidates, form) or candidates
    selection = await _select(run, path, flow, candidates)
    chosen = answer_of(candidates[selection.position if selection is not None else 0])
    # A tool call is emitted as it is: a synthesizer would only talk about it (W10).
    if flow.synthesizer is not None and not chosen.tool_calls:
        judged = selection if flow.selector is not None else None
        here = (*path, "synthesizer")
        # a form can be checked only when all of it is there: the voice then waits for the whole text
        aloud = voice and form is None
        merged = await synthesizer.synthesize(run, here, flow.synthesizer, candidates, judged, form, voice=aloud)
        if merged is not None:
            if voice and not aloud:
                _speak(run, path, merged)
            return merged
        if selection is None:
            chosen = answer_of(candidates[selector.by_agreement(candidates).position])
    if voice:
        _speak(run, path, chosen)
    return chosen


def _fitting(candidates: Sequence[Outcome], form: Shape) -> list[Outcome]:
    """The candidates that have the wanted form, bare of code fences; tool calls have one of their own."""
    fitting: list[Outcome] = []
    for candidate in candidates:
        answer = answer_of(candidate)
        text = answer.text if answer.tool_calls else form.fitted(answer.text)
        if text is not None:
            fitting.append(replace(candidate, answer=msgspec.structs.replace(answer, text=text)))
    return fitting


async def _select(run: Run, path: Path, flow: Flow, candidates: Sequence[Outcome]) -> Selection | None:
    """The selection among `candidates`; None where nobody selects and the synthesizer weighs them all."""
    if flow.selector is None:
        return None if len(candidates) > 1 else Selection(0, judged=False)
    here = (*path, "selector")
    if len(candidates) == 1:
        run.totals.shortcuts.append("single_candidate")
        return selector.skip(run, here, flow.selector, candidates, "It was the only candidate.")
    return await selector.select(run, here, flow.selector, candidates)


def _speak(run: Run, path: Path, answer: Answer) -> None:
    """Let the chosen candidate out as the voice."""
    pieces = tuple(ToolPiece(index, call.id, call.name, call.arguments) for index, call in enumerate(answer.tool_calls))
    at = run.now()
    run.journal.write(Delta(path, at, answer.text, answer.reasoning, pieces, answer.logprobs, run.choice))
