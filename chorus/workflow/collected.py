"""The pieces of one model's answer, put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from chorus.errors import UpstreamProtocol
from chorus.extras import Extras
from chorus.llm.base import Chunk
from chorus.llm.counts import prompt_estimate
from chorus.types import Answer, ChatRequest, FinishReason, ToolCall, ToolPiece
from chorus.usage import NONE, Usage, estimate_tokens
from chorus.wirejson import JSON
from chorus.workflow.model import Model


@dataclass(slots=True)
class _ToolCallPieces:
    """The pieces of one tool call."""

    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    extras: Extras = field(default_factory=Extras)

    def whole(self) -> ToolCall:
        """Return the whole call; one without arguments has an empty object."""
        return ToolCall(self.id, self.name, "".join(self.arguments) or "{}", self.extras.whole())


class Collected:
    """The answer of `model` to `request` so far. `lost` is the usage of beginnings that did not
    count."""

    def __init__(self, model: Model, request: ChatRequest) -> None:
        self._model = model
        self._request = request
        self.lost = NONE
        self._clear()

    def begin_again(self) -> None:
        """Drop the answer so far, since another instance begins it again. What was read has been
        paid for."""
        self.lost += self._counted()
        self._clear()

    def _clear(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self._calls: dict[int, _ToolCallPieces] = {}
        self._logprobs: JSON = None
        self._extras = Extras()

    def take(self, chunk: Chunk) -> bool:
        """Add `chunk`; return whether it holds a piece of the answer."""
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
            call = self._calls[piece.index] = _ToolCallPieces(piece.id or "", piece.name or "")
        call.arguments.append(piece.arguments)
        if piece.extra is not None:
            call.extras.add(piece.extra)

    def _take_logprobs(self, logprobs: JSON) -> None:
        """Append to OpenAI's logprobs in place: copies would be quadratic in the tokens."""
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

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            UpstreamProtocol: the upstream ended without a finish reason, which its contract
                forbids.
        """
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        calls = tuple(call.whole() for call in self._calls.values())
        if self.finish_reason is None:
            raise UpstreamProtocol(f"Model '{self._model.name}' stopped without saying why")
        return Answer(text, reasoning, calls, self.finish_reason, self._counted(), self._logprobs, self._extras.whole())

    def spent(self) -> Usage | None:
        """Return what a broken answer has used; None where nothing of it came."""
        if self.text or self.reasoning or self._calls or self.usage:
            return self.lost + self._counted()
        return self.lost if self.lost.total_tokens else None

    def _counted(self) -> Usage:
        """Return the usage as reported, else estimated.

        With its cost where the model has a price.
        """
        usage = self.usage
        if usage is None:
            answered = estimate_tokens("".join(self.text)) + estimate_tokens("".join(self.reasoning))
            usage = Usage(prompt_estimate(self._request), answered, estimated=True)
        return self._model.priced(usage)
