"""One call of one model as part of a stage: limits, pieces into the journal, the whole answer back."""

from __future__ import annotations

import anyio

from chorus.errors import UpstreamProtocol, UpstreamTimeout
from chorus.events import Delta
from chorus.llm.base import Call, Chunk
from chorus.types import Answer, ChatRequest, FinishReason, ToolCall, ToolPiece
from chorus.usage import Usage, estimate_tokens
from chorus.wirejson import JSON
from chorus.workflow.base import Model, Run, Stage

_DEADLINE_STEP = 0.1
"""A voice's deadline moves with its tokens, but not more often than this (seconds): re-arming a timer for each token of
a fast stream costs more than relaying it. A voice that goes silent may so be cut this much too early."""


async def converse(
    run: Run,
    stage: Stage,
    model: Model,
    request: ChatRequest,
    *,
    timeout: float,
    stream: bool = True,
    voice: bool = False,
) -> Answer:
    """Ask `model` and return its whole answer, writing its pieces to the journal as they come.

    `timeout` (seconds) bounds the whole call; for the outward `voice`, whose pieces the client is reading, it bounds the
    silence before and between pieces instead. The model's `first_token` limit applies in both cases.

    Raises:
        LLMError: the model gave no whole answer. `stage.first_token_at` tells whether it had begun.
    """
    collected = _Collected()
    choice = run.choice if voice else None
    clock = run.clock
    async with run.slot():
        began = clock()
        first_limit = min(timeout, model.timeouts.first_token or timeout) if stream else timeout
        next_move = 0.0
        call = Call(request, run.request_id, stream, attempting=stage.attempting)
        with anyio.CancelScope(deadline=began + first_limit) as limit:
            async with model.upstream.open(call) as chunks:
                async for chunk in chunks:
                    if not collected.take(chunk):
                        continue
                    now = clock()
                    if stage.first_token_at is None:
                        stage.first_token_at = now - run.started
                        limit.deadline = (now if voice else began) + timeout
                        next_move = now + _DEADLINE_STEP
                    elif voice and now >= next_move:
                        limit.deadline = now + timeout
                        next_move = now + _DEADLINE_STEP
                    at = now - run.started
                    run.journal.write(
                        Delta(stage.path, at, chunk.text, chunk.reasoning, chunk.tool_calls, chunk.logprobs, choice)
                    )
    if limit.cancelled_caught:
        if stage.first_token_at is None:
            what, waited = ("begin" if stream else "give"), first_limit
        else:
            what, waited = ("go on with" if voice else "finish"), timeout
        raise UpstreamTimeout(f"Model '{model.name}' did not {what} its answer within {waited:g} s")
    answer = collected.answer(model, request)
    stage.usage = answer.usage
    run.totals.usage += answer.usage
    return answer


class _Collected:
    """The pieces of an answer, put together."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._logprobs: JSON = None

    def take(self, chunk: Chunk) -> bool:
        """Add `chunk`; tells whether it says anything."""
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if chunk.text:
            self.text.append(chunk.text)
        if chunk.reasoning:
            self.reasoning.append(chunk.reasoning)
        for piece in chunk.tool_calls:
            self._take_piece(piece)
        if chunk.logprobs is not None:
            self._take_logprobs(chunk.logprobs)
        return bool(chunk.text or chunk.reasoning or chunk.tool_calls or chunk.logprobs is not None)

    def _take_piece(self, piece: ToolPiece) -> None:
        held = self._calls.get(piece.index)
        if held is None:
            held = self._calls[piece.index] = (piece.id or "", piece.name or "", [])
        held[2].append(piece.arguments)

    def _take_logprobs(self, logprobs: JSON) -> None:
        """Lists of OpenAI's logprobs objects grow piece by piece."""
        if not isinstance(self._logprobs, dict) or not isinstance(logprobs, dict):
            self._logprobs = dict(logprobs) if isinstance(logprobs, dict) else logprobs
            return
        for key, value in logprobs.items():
            before = self._logprobs.get(key)
            if isinstance(before, list) and isinstance(value, list):
                self._logprobs[key] = [*before, *value]
            elif value is not None:
                self._logprobs[key] = value

    def answer(self, model: Model, request: ChatRequest) -> Answer:
        """The whole answer.

        Raises:
            UpstreamProtocol: the upstream ended without a finish reason, which its contract forbids.
        """
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        calls = tuple(ToolCall(id, name, "".join(parts) or "{}") for id, name, parts in self._calls.values())
        if self.finish_reason is None:
            raise UpstreamProtocol(f"Model '{model.name}' stopped without saying why")
        usage = self.usage
        if usage is None:
            asked = sum(estimate_tokens(message.text) for message in request.messages)
            usage = Usage(asked, estimate_tokens(text) + estimate_tokens(reasoning), estimated=True)
        if model.price is not None:
            usage = usage + Usage(cost=model.price.of(usage))
        return Answer(text, reasoning, calls, self.finish_reason, usage, self._logprobs)
