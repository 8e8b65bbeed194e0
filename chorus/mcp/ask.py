"""The tool `ask`: a model or a workflow answers, and its stages are the progress of the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from chorus.auth.access import check_model, may_ask
from chorus.errors import InvalidRequest
from chorus.events import Event, RunFailed, RunFinished, StageFinished, StageStarted
from chorus.journal import Journal
from chorus.mcp.memory_tools import UserId
from chorus.mcp.tool import Call, Progress, Result, Tool
from chorus.service import Chorus
from chorus.sessions.flow import recall_warning
from chorus.telemetry.stage_sentences import StageSentences
from chorus.types import ChatRequest, Message, Sampling

_SELECTOR: Final = ("selector",)


class AskArguments(Struct, forbid_unknown_fields=True):
    """The arguments."""

    question: Annotated[str, Meta(min_length=1, description="What to ask.")]
    model: Annotated[
        str | None, Meta(description="A model or workflow that `list_models` lists; the first of them otherwise.")
    ] = None
    system: Annotated[str | None, Meta(description="Instructions for whoever answers.")] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="How long the answer may be, in tokens.")
    ] = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    memory: Annotated[bool, Meta(description="Whether the notes on the user go with the question.")] = True
    user_id: UserId = None


class Tokens(Struct, frozen=True):
    """Tokens of all calls together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AskResult(Result, frozen=True):
    """An answer. `chosen` is the worker whose answer was chosen and `reason` why; both are null
    where nobody had to choose. `calls` counts the calls of models."""

    answer: str
    model: str
    chosen: str | None
    reason: str | None
    finish_reason: str
    workflow_id: str
    request_id: str
    calls: int
    usage: Tokens
    cost: float | None
    warnings: list[str]

    def texts(self) -> list[str]:
        """Return the answer, and who was chosen and why."""
        if self.chosen is None:
            return [self.answer]
        return [self.answer, f"Chosen: {self.chosen}. {self.reason or ''}".rstrip()]


def ask_tool(chorus: Chorus) -> Tool[Any]:
    """Return the tool."""

    async def work(call: Call, given: AskArguments) -> Result:
        return await _asked(chorus, call, given)

    return Tool(
        "ask",
        "Ask a model or workflow",
        "Ask one model, or a workflow in which several models answer and one answer is chosen or written from all. "
        "Returns the answer, and which one was chosen and why.",
        AskArguments,
        AskResult,
        work,
        is_read_only=True,
        is_idempotent=False,
    )


async def _asked(chorus: Chorus, call: Call, given: AskArguments) -> AskResult:
    name = given.model if given.model is not None else _first(chorus, call)
    check_model(call.principal, name)
    if not given.question.strip():
        raise InvalidRequest("'question' is empty.", param="question")
    user = call.user_of(given.user_id)
    system = (Message("system", given.system),) if given.system else ()
    sampling = Sampling(temperature=given.temperature, max_tokens=given.max_tokens)
    request = ChatRequest(name, (*system, Message("user", given.question)), sampling)
    async with chorus.run(
        (request,),
        request_id=call.request_id,
        unique=call.unique,
        # a run that is not streamed is over when its block begins
        streaming=call.progress is not None,
        observers=call.observers,
        cancel_signal=call.left,
        caller=call.principal,
        recall_user=user if given.memory and call.recalls else None,
    ) as journal:
        if call.progress is not None:
            await _report(call.progress, journal)
        await journal.ended()
    return _result(call, name, journal)  # of a run that was cancelled, too: it raises why


def _first(chorus: Chorus, call: Call) -> str:
    """Return the first model or workflow that the caller may ask for.

    Raises:
        InvalidRequest: there is none.
    """
    for name in chorus.snapshot.plans:
        if may_ask(call.principal, name):
            return name
    raise InvalidRequest("There is no model that this key may ask for.", param="model")


async def _report(progress: Progress, journal: Journal) -> None:
    """Tell the client of each stage, until the run is over."""
    sentences = StageSentences()
    steps = 0
    async for batch in journal.read():
        for event in batch:
            if isinstance(event, StageStarted | StageFinished) and (sentence := sentences.sentence(event)):
                steps += 1
                await progress(steps, sentence)


def _result(call: Call, name: str, journal: Journal) -> AskResult:
    """Return the result of a run that is over. Raises its error."""
    over = journal.events[-1]
    if isinstance(over, RunFailed):
        raise over.error
    assert isinstance(over, RunFinished)
    chosen, reason = _verdict(journal.events)
    usage, answer = over.usage, over.answers[0]
    warning = recall_warning(journal.events)
    return AskResult(
        answer=answer.text,
        model=name,
        chosen=chosen,
        reason=reason,
        finish_reason=answer.finish_reason,
        workflow_id=journal.workflow_id,
        request_id=call.request_id,
        calls=over.calls,
        usage=Tokens(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        cost=usage.cost,
        warnings=[warning] if warning is not None else [],
    )


def _verdict(events: Sequence[Event]) -> tuple[str | None, str | None]:
    """Return the worker that the run's own selector has chosen, and why.

    The reason alone says why there was no choice.
    """
    for event in reversed(events):
        if isinstance(event, StageFinished) and event.path == _SELECTOR:
            chosen, reason = event.details.get("selected_worker"), event.details.get("reasoning")
            return chosen, reason if reason or event.fault is None else event.fault.message
    return None, None
