"""The synthesizer: writes the answer from the best candidate and what the others add (W1, W8)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chorus.errors import ChorusError
from chorus.events import Fault, Path, Status
from chorus.types import Answer, Message
from chorus.workflow.call_model import call_model, check_not_empty
from chorus.workflow.judging import prompts, temperature
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import new_word
from chorus.workflow.judging.response_format import ResponseFormat
from chorus.workflow.nodes.results import WorkerResult
from chorus.workflow.nodes.selection import Selection
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import merging
from chorus.workflow.run import Run
from chorus.workflow.stage import fault_of, is_timeout


async def synthesize(
    run: Run,
    path: Path,
    node: Leaf,
    candidates: Sequence[WorkerResult],
    selection: Selection | None,
    response_format: ResponseFormat | None,
    *,
    output: bool,
) -> Answer | None:
    """Return the final answer, which goes out as it comes when this is the `output`.

    None when the synthesizer failed before its first token, or did not write in the wanted
    `response_format`, so that the selected candidate can take its place (W2, W10).

    Raises:
        ChorusError: the output failed after its first token; the client has read the beginning.
    """
    model = run.models[node.ref]
    chosen_temperature = temperature.synthesizer(node, model.temperature, run.request.sampling.temperature)
    request = merging(run.request, node, chosen_temperature.value, _instruction(candidates, selection))
    with run.stage(path, "synthesizer", node.label, model.name, chosen_temperature) as stage:
        timeout = node.timeout_secs or model.timeouts.synthesizer
        try:
            answer = await call_model(run, stage, model, request, timeout=timeout, output=output)
            check_not_empty(model, answer)
        except ChorusError as error:
            if output and stage.first_token_at is not None:
                raise
            status: Status = "timeout" if is_timeout(error) else "failed"
            stage.finish(status, fault=fault_of(error), details={"fallback": "selected candidate"})
            return None
        if response_format is not None:
            validated = response_format.validated(answer.text)
            if validated is None:
                fault = Fault("invalid_output", "The answer does not have the form that the request asks for")
                stage.finish("failed", answer=answer, fault=fault, details={"fallback": "selected candidate"})
                return None
            answer = msgspec.structs.replace(answer, text=validated)
        unchecked = response_format.unchecked if response_format is not None else ""
        stage.finish(answer=answer, details={"schema_not_enforced": unchecked} if unchecked else {})
        return answer


def skip(run: Run, path: Path, node: Leaf, reason: str) -> None:
    """Record that the synthesizer was not needed."""
    with run.stage(path, "synthesizer", node.label, node.ref) as stage:
        stage.finish("skipped", details={"reasoning": reason})


def _instruction(candidates: Sequence[WorkerResult], selection: Selection | None) -> Message:
    """Return our message: the candidates in the order and under the labels that the selector saw.

    Its words name them so.
    """
    order = selection.order if selection is not None and selection.order else range(len(candidates))
    blocks = [Labelled(prompts.label(place), candidates[i].whole) for place, i in enumerate(order)]
    verdict = ""
    if selection is not None:
        label = prompts.label(list(order).index(selection.position))
        verdict = prompts.decided(label, selection.reason, selection.notes)
    return prompts.synthesizer(blocks, new_word(), verdict)
