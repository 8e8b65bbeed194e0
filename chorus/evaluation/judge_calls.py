"""One call of a judge, as a workflow's selector makes it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from chorus.errors import ChorusError
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.telemetry.trace import workflow_details
from chorus.types import Answer, ChatRequest, Message
from chorus.workflow.judging import prompts, temperature
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.verdict import Verdict, read_verdict
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import judging


async def verdict_on(
    chorus: Chorus, judge: str, messages: Sequence[Message], texts: Sequence[str]
) -> tuple[Verdict | None, Mapping[str, Any]]:
    """Return what `judge` says of `texts`, which answer the conversation `messages`, and the trace
    of the call. The verdict's places are those of `texts`; None where it cannot be read.

    Raises:
        UnknownModel: nothing has that name.
        ChorusError: it is no single model, or does not answer.
    """
    model = chorus.snapshot.models.get(chorus.snapshot.resolve(judge).name)
    if model is None:
        raise ChorusError(f"the judge '{judge}' is a workflow now: only models are asked as a selector asks")
    node = Leaf(judge, judge)
    mark = new_word()
    labels = [prompts.label(place) for place in range(len(texts))]
    blocks = [Labelled(label, Answer(text)) for label, text in zip(labels, texts, strict=True)]
    ours = prompts.selector(blocks, new_word(), mark, notes=False)
    degrees = temperature.judge(node, model.temperature).value
    schema = prompts.verdict_schema(labels, notes=False)
    request = judging(ChatRequest(judge, tuple(messages)), node, model, degrees, ours, schema)
    unique = secrets.token_hex(12)
    async with chorus.run((request,), request_id=f"eval_{unique}", unique=unique, streaming=False) as journal:
        await journal.ended()
        over, trace = journal.events[-1], workflow_details(journal.events)
    if isinstance(over, RunFailed):
        raise ChorusError(f"the judge '{judge}' does not answer: {over.error.message}")
    assert isinstance(over, RunFinished)
    try:
        return read_verdict(over.answers[0].text, labels, mark), trace
    except Unreadable:
        return None, trace
