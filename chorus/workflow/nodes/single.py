"""The workflow of one: a model that the request names itself. Nothing is judged; the model's answer
is the output."""

from __future__ import annotations

import msgspec

from chorus.events import Path
from chorus.types import Answer
from chorus.workflow.call_model import call_model
from chorus.workflow.judging import temperature
from chorus.workflow.plan import Leaf
from chorus.workflow.run import Run


async def relay(run: Run, path: Path, node: Leaf) -> Answer:
    """Return the model's answer, which goes out as it comes. The request's unknown fields travel
    with it (A6).

    Raises:
        LLMError: the model failed.
    """
    model = run.models[node.ref]
    request = run.request
    chosen_temperature = temperature.single(model.temperature, request.sampling.temperature)
    if chosen_temperature.value != request.sampling.temperature:
        request = msgspec.structs.replace(
            request, sampling=msgspec.structs.replace(request.sampling, temperature=chosen_temperature.value)
        )
    with run.stage(path, "worker", node.label, model.name, chosen_temperature) as stage:
        times = model.timeouts
        timeout, idle = node.timeout_secs or times.first_byte, node.timeout_secs or times.idle
        # a limit on the first token holds without streaming, too: then it is asked for
        # in pieces all the same
        pieces = run.streaming or times.single_first_token is not None
        answer = await call_model(run, stage, model, request, timeout=timeout, idle=idle, stream=pieces, output=True)
        stage.finish(answer=answer)
        return answer
