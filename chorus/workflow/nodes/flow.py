"""A workflow: analyzer and workers, selector, synthesizer, and what replaces a failure (W1, W2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from chorus.errors import AllWorkersFailed, ChorusError
from chorus.events import Path
from chorus.types import Answer
from chorus.usage import Usage
from chorus.workflow.judging import prompts
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import new_word
from chorus.workflow.judging.response_format import ResponseFormat
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.nodes import analyzer, route, selector, synthesizer, worker
from chorus.workflow.nodes.results import Gathered, WorkerResult
from chorus.workflow.nodes.selection import Selection, by_agreement
from chorus.workflow.nodes.workers import Layer
from chorus.workflow.output import write_answer
from chorus.workflow.plan import Flow, Leaf, selector_calls, total_calls
from chorus.workflow.run import Run
from chorus.workflow.stage import Stage


async def perform(run: Run, path: Path, flow: Flow, *, output: bool = False) -> Answer:
    """Return the answer of `flow`. With `output` it is the one that the client reads.

    Raises:
        AllWorkersFailed: there is no candidate.
        DeadlineExceeded: there is none because there was no time for one.
        ChorusError: the output failed after its first token.
    """
    response_format = run.response_format()
    analysis, first = None, 0
    if (flow.difficulty or flow.learned is not None) and flow.analyzer is not None:
        analysis = await analyzer.analyze(run, (*path, "analyzer"), flow.analyzer)
        if (leaf := _direct(flow, analysis)) is not None:
            answer = await _answer_directly(run, path, flow, leaf, analysis, response_format, output=output)
            if answer is not None:
                return answer
            first = 1
    if flow.learned is not None:
        flow = await route.routed(run, path, flow, flow.learned, analysis)
    gathered = await Layer(
        run, path, flow, perform, response_format=response_format, first_index=first, analysis=analysis
    ).gather()
    if not gathered.candidates:
        if run.is_late:
            raise run.late()
        raise AllWorkersFailed([(o.label, o.fault.code, o.fault.message) for o in gathered.failures if o.fault])
    for number in range(1, flow.layers):
        if gathered.agreed is None:
            gathered = await _refine(run, path, flow, response_format, gathered, number)
    if gathered.agreed is not None:
        return _agreed(run, path, flow, gathered, gathered.agreed, output=output)
    candidates = [candidate for candidate in gathered.candidates if candidate.is_valid] or gathered.candidates
    return await _conclude(run, path, flow, candidates, response_format, output=output)


def _direct(flow: Flow, analysis: Analysis) -> Leaf | None:
    """Return the only model for a request of this analysis; None where all workers answer (W7)."""
    if not flow.difficulty or not analysis.was_read or analysis.strategy == "ensemble":
        return None
    if analysis.strategy == "direct":
        return flow.direct(analysis.difficulty) or flow.difficulty[0][1]
    return flow.direct(analysis.difficulty)


async def _answer_directly(
    run: Run,
    path: Path,
    flow: Flow,
    leaf: Leaf,
    analysis: Analysis,
    response_format: ResponseFormat | None,
    *,
    output: bool,
) -> Answer | None:
    """Return the answer of one model; None where it has none, and all workers are asked."""
    began: list[Stage] = []
    emits = output and response_format is None
    try:
        answer = await worker.ask(run, (*path, "0"), leaf, analysis.temperature, output=emits, entered=began.append)
    except ChorusError:
        if emits and began[0].first_token_at is not None:
            raise
        return None
    if response_format is not None and not answer.tool_calls:
        text = response_format.validated(answer.text)
        if text is None:
            return None
        answer = msgspec.structs.replace(answer, text=text)
    run.skipped("direct", path, total_calls(flow) - 2)
    if output and not emits:
        _emit(run, path, answer)
    return answer


async def _refine(
    run: Run, path: Path, flow: Flow, response_format: ResponseFormat | None, before: Gathered, number: int
) -> Gathered:
    """Return the answers of a further layer that reads those `before`; `before` if all fail."""
    blocks = [Labelled(prompts.label(place), candidate.whole) for place, candidate in enumerate(before.candidates)]
    ours = prompts.refiner(blocks, new_word())
    shared = run.request.shared_messages or len(run.request.messages)
    request = msgspec.structs.replace(run.request, messages=(*run.request.messages, ours), shared_messages=shared)
    reading = replace(run, request=request, analyses={})
    layer = Layer(
        reading,
        path,
        flow,
        perform,
        response_format=response_format,
        number=number,
        first_index=before.next_index,
        analysis=before.analysis or Analysis(),
    )
    after = await layer.gather()
    if not after.candidates:
        return replace(before, next_index=after.next_index)
    first = before.candidates[0].whole
    refined = [replace(candidate, answer=_with_usage(first, candidate.whole)) for candidate in after.candidates]
    return replace(after, candidates=refined)


def _agreed(run: Run, path: Path, flow: Flow, gathered: Gathered, position: int, *, output: bool) -> Answer:
    """Return the answer on which enough candidates agree; the judges are skipped."""
    candidates = gathered.candidates
    reason = "Enough candidates agree."
    if flow.selector is not None:
        selector.skip(run, (*path, "selector"), flow.selector, candidates, position, reason)
    if flow.synthesizer is not None:
        synthesizer.skip(run, (*path, "synthesizer"), flow.synthesizer, reason)
    chosen = candidates[position].whole
    if output:
        _emit(run, path, chosen)
    return chosen


async def _conclude(
    run: Run,
    path: Path,
    flow: Flow,
    candidates: Sequence[WorkerResult],
    response_format: ResponseFormat | None,
    *,
    output: bool,
) -> Answer:
    """Return the answer that the judges choose or write from `candidates`."""
    selection = await _select(run, path, flow, candidates)
    chosen = candidates[selection.position if selection is not None else 0].whole
    # A tool call is emitted as it is: a synthesizer would only talk about it (W10).
    if flow.synthesizer is not None and not chosen.tool_calls:
        here = (*path, "synthesizer")
        if selection is not None and flow.decisive and selection.decisive and chosen.finish_reason == "stop":
            synthesizer.skip(run, here, flow.synthesizer, "The verdict is decisive: the winner speaks for itself.")
            run.skipped("decisive", path, 1)
        else:
            # a response format can be checked on a whole text only: the output waits for it
            emits = output and response_format is None
            merged = await synthesizer.synthesize(
                run, here, flow.synthesizer, candidates, selection, response_format, output=emits
            )
            if merged is not None:
                merged = _with_usage(chosen, merged)
                if output and not emits:
                    _emit(run, path, merged)
                return merged
            if selection is None:
                chosen = candidates[by_agreement(candidates).position].whole
    if output:
        _emit(run, path, chosen)
    return chosen


async def _select(run: Run, path: Path, flow: Flow, candidates: Sequence[WorkerResult]) -> Selection | None:
    """Return the selection among `candidates`; None without a selector.

    The synthesizer then reads them all.
    """
    if flow.selector is None:
        return None
    here = (*path, "selector")
    if len(candidates) == 1:
        run.skipped("single_candidate", path, selector_calls(flow))
        return selector.skip(run, here, flow.selector, candidates, 0, "It was the only candidate.")
    notes = flow.synthesizer is not None
    return await selector.select(
        run, here, flow.selector, candidates, passes=flow.passes, length_effect=flow.length_effect, notes=notes
    )


def _with_usage(source: Answer, answer: Answer) -> Answer:
    """Return `answer` with the usage that a client reads: the prompt of `source` (W11).

    `source` is a worker's answer to the client's own messages; what we add to judge and to merge is
    no part of the conversation.
    """
    read, written = source.usage, answer.usage
    usage = Usage(
        read.prompt_tokens,
        written.completion_tokens,
        read.cached_tokens,
        written.reasoning_tokens,
        written.cost,
        read.estimated or written.estimated,
        read.cache_write_tokens,
    )
    return msgspec.structs.replace(answer, usage=usage)


def _emit(run: Run, path: Path, answer: Answer) -> None:
    """Send the chosen candidate to the client."""
    write_answer(run.journal, path, run.now(), answer, run.choice)
