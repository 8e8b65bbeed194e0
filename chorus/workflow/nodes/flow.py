"""A workflow: analyzer and workers, then selector, then synthesizer; at each step the next best thing (W1, W2)."""

from __future__ import annotations

from collections.abc import Sequence

from chorus.errors import AllWorkersFailed
from chorus.events import Delta, Path
from chorus.types import Answer, ToolPiece
from chorus.workflow.base import Run
from chorus.workflow.nodes import selector, synthesizer, workers
from chorus.workflow.nodes.selector import Selection, answer_of
from chorus.workflow.nodes.workers import Outcome
from chorus.workflow.plan import Flow


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
    selection = await _select(run, path, flow, candidates)
    chosen = answer_of(candidates[selection.position if selection is not None else 0])
    # A tool call is emitted as it is: a synthesizer would only talk about it (W10).
    if flow.synthesizer is not None and not chosen.tool_calls:
        judged = selection if flow.selector is not None else None
        merged = await synthesizer.synthesize(
            run, (*path, "synthesizer"), flow.synthesizer, candidates, judged, voice=voice
        )
        if merged is not None:
            return merged
        if selection is None:
            chosen = answer_of(candidates[selector.by_agreement(candidates).position])
    if voice:
        _speak(run, path, chosen)
    return chosen


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
