"""One call of one model as part of a stage: limits, pieces into the journal, the whole answer back."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from chorus.errors import ClientGone, UpstreamProtocol, UpstreamTimeout
from chorus.extras import Extras
from chorus.llm.base import Call, Chunk
from chorus.llm.clients import WATCHED
from chorus.llm.counts import prompt_estimate
from chorus.types import Answer, ChatRequest, FinishReason, ToolCall, ToolPiece
from chorus.usage import Usage, estimate_tokens
from chorus.wirejson import JSON
from chorus.workflow.model import Model
from chorus.workflow.output import write_chunk
from chorus.workflow.run import Run
from chorus.workflow.stage import Stage, fault_of

_DEADLINE_STEPS = 50
"""The deadline of an answer that goes out moves with its tokens, in steps of this part of the limit: moving a timer for
each token costs more than relaying it. An answer that goes silent may so be cut by a step too early."""


async def call_model(
    run: Run,
    stage: Stage,
    model: Model,
    request: ChatRequest,
    *,
    timeout: float,
    idle: float | None = None,
    stream: bool = True,
    output: bool = False,
) -> Answer:
    """Ask `model` and return its whole answer, writing its pieces to the journal as they come.

    `timeout` (seconds) bounds the whole call; for the `output`, whose pieces the client is reading, it bounds the
    silence before and between pieces instead. With `idle`, `timeout` bounds the silence before the first byte of the reply,
    and `idle` that between bytes, those that say nothing included: the patience for a model that the request names itself.
    The model's limit on the first token goes down with the call, and holds for each instance that is asked.

    The run's deadline bounds everything. An output that it cuts keeps the text so far, as an answer that ended by its length.

    Raises:
        LLMError: the model gave no whole answer. `stage.first_token_at` tells whether it had begun.
        DeadlineExceeded: the run has no time left.
        BudgetSpent: the run has no budget left.
        ClientGone: the client disconnected.
    """
    run.check()
    run.totals.calls += 1
    collected = _Collected()
    lost = Usage()

    def begin_again() -> None:
        nonlocal collected, lost
        lost += collected.counted(model, request)  # what was read has been paid for
        collected = _Collected()

    choice = run.choice if output else None
    clock = run.clock
    is_whole = False
    silence, next_move = timeout, 0.0

    def alive() -> None:
        nonlocal next_move, silence
        now = clock()
        if now >= next_move:
            silence = idle or timeout
            limit.deadline = min(now + silence, run.deadline)
            next_move = now + silence / _DEADLINE_STEPS

    limit = anyio.CancelScope()
    if run.cancel_signal is not None:
        run.cancel_signal.subscribe(limit.cancel)
    times = model.timeouts
    first_token = times.first_token if idle is None else times.single_first_token
    watched = WATCHED.set(alive) if idle is not None else None
    stage.queued()
    try:
        async with run.slot():
            began = clock()
            call = Call(
                request,
                run.request_id,
                stream,
                first_token_timeout=first_token if stream else None,
                session=request.session,
                priority=request.priority,
                attempting=stage.attempting,
                warn=stage.warn,
                on_restart=None if output and run.streaming else begin_again,
                timed_out=lambda: clock() >= limit.deadline and not run.is_late,
            )
            limit.deadline = min(began + timeout, run.deadline)
            with limit:
                async with model.upstream.open(call) as chunks:
                    async for chunk in chunks:
                        if not collected.take(chunk):
                            continue
                        now = clock()
                        if stage.first_token_at is None:
                            stage.first_token_at = now - run.started
                            if output and chunk.finish_reason is None:
                                alive()
                        elif output and now >= next_move:
                            alive()
                        write_chunk(run.journal, stage.path, now - run.started, chunk, choice)
        if limit.cancelled_caught:
            if run.cancel_signal is not None and run.cancel_signal.is_set:
                raise ClientGone("The client left before its answer was complete.")
            if not run.is_late:
                raise _too_slow(stage, model, silence, stream=stream, output=output)
            if not (output and collected.text):
                raise run.late()
            stage.overrun = fault_of(run.late())
            collected.finish_reason = "length"
        is_whole = True
    finally:
        if watched is not None:
            WATCHED.reset(watched)
        if run.cancel_signal is not None:
            run.cancel_signal.unsubscribe(limit.cancel)
        if not is_whole and (collected.has_begun or lost.total_tokens):
            stage.usage = lost + collected.counted(model, request) if collected.has_begun else lost
            run.totals.usage += stage.usage
    answer = collected.answer(model, request)
    stage.usage = lost + answer.usage
    run.totals.usage += stage.usage
    return answer


def check_not_empty(model: Model, answer: Answer) -> None:
    """Check that `answer` has a text or a tool call.

    Raises:
        UpstreamProtocol: it has neither.
    """
    if not answer.text.strip() and not answer.tool_calls:
        raise UpstreamProtocol(f"Model '{model.name}' answered with nothing")


def _too_slow(stage: Stage, model: Model, timeout: float, *, stream: bool, output: bool) -> UpstreamTimeout:
    begun, not_begun = ("go on with" if output else "finish"), ("begin" if stream else "give")
    what = not_begun if stage.first_token_at is None else begun
    return UpstreamTimeout(f"Model '{model.name}' did not {what} its answer within {timeout:g} s")


@dataclass(slots=True)
class _CollectedCall:
    """The pieces of a tool call."""

    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    extras: Extras = field(default_factory=Extras)

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments) or "{}", self.extras.whole())


class _Collected:
    """The pieces of an answer, put together."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self._calls: dict[int, _CollectedCall] = {}
        self._logprobs: JSON = None
        self._extras = Extras()

    def take(self, chunk: Chunk) -> bool:
        """Add `chunk`; tells whether it says anything."""
        if chunk.text:
            self.text.append(chunk.text)
            is_text = not (chunk.reasoning or chunk.tool_calls or chunk.finish_reason or chunk.usage)
            if is_text and chunk.logprobs is None and chunk.extra is None:
                return True
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if chunk.reasoning:
            self.reasoning.append(chunk.reasoning)
        for piece in chunk.tool_calls:
            self._take_piece(piece)
        if chunk.logprobs is not None:
            self._take_logprobs(chunk.logprobs)
        if chunk.extra is not None:
            self._extras.add(chunk.extra)
        is_something = chunk.text or chunk.reasoning or chunk.tool_calls or chunk.extra
        return bool(is_something or chunk.logprobs is not None)

    def _take_piece(self, piece: ToolPiece) -> None:
        call = self._calls.get(piece.index)
        if call is None:
            call = self._calls[piece.index] = _CollectedCall(piece.id or "", piece.name or "")
        call.arguments.append(piece.arguments)
        if piece.extra is not None:
            call.extras.add(piece.extra)

    def _take_logprobs(self, logprobs: JSON) -> None:
        """Lists of OpenAI's logprobs objects grow piece by piece, in place: copies would be quadratic in the tokens."""
        if not isinstance(logprobs, dict):
            self._logprobs = logprobs
            return
        if not isinstance(self._logprobs, dict):
            self._logprobs = {}
        for key, value in logprobs.items():
            if isinstance(value, list):
                before = self._logprobs.get(key)
                if isinstance(before, list):
                    before.extend(value)
                else:
                    self._logprobs[key] = [*value]
            elif value is not None or key not in self._logprobs:
                self._logprobs[key] = value

    def answer(self, model: Model, request: ChatRequest) -> Answer:
        """The whole answer.

        Raises:
            UpstreamProtocol: the upstream ended without a finish reason, which its contract forbids.
        """
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        calls = tuple(call.whole() for call in self._calls.values())
        if self.finish_reason is None:
            raise UpstreamProtocol(f"Model '{model.name}' stopped without saying why")
        usage = self.counted(model, request)
        return Answer(text, reasoning, calls, self.finish_reason, usage, self._logprobs, self._extras.whole())

    @property
    def has_begun(self) -> bool:
        """Whether the model has said anything, or reported what it used."""
        return bool(self.text or self.reasoning or self._calls or self.usage)

    def counted(self, model: Model, request: ChatRequest) -> Usage:
        """What was used so far: as reported, else estimated; with its cost where the model has a price."""
        usage = self.usage
        if usage is None:
            asked = prompt_estimate(request)
            said = estimate_tokens("".join(self.text)) + estimate_tokens("".join(self.reasoning))
            usage = Usage(asked, said, estimated=True)
        return usage + Usage(cost=model.price.of(usage)) if model.price is not None else usage
