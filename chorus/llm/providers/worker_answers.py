"""Read the answers of an inference worker, whatever it sends (I1, L3, L5).

Sans I/O: messages in, chunks out. Above: the provider `grpc`. Below: `worker_messages`, and the
readers of `reading`, which keep thinking apart and put tool calls together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from chorus import wirejson
from chorus.errors import InvalidRequest, UpstreamProtocol, excerpt
from chorus.llm.base import Chunk, ignore
from chorus.llm.counts import count_of, input_estimate
from chorus.llm.embed import Embeddings
from chorus.llm.providers.embeddings import MAX_NUMBERS, checked
from chorus.llm.providers.worker_messages import FINISH_OF, json_object
from chorus.llm.reading.answer_text import AnswerText
from chorus.llm.reading.endings import check_empty, final_finish
from chorus.llm.reading.tool_calls import MAX_EXTRA_DEPTH, CallAssembler, CallPart
from chorus.types import Extra, FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.worker.v1 import inference_pb2 as pb

MAX_EMPTY: Final = 10_000
"""Messages in a row that say nothing. A worker may send some to show that it lives; this many are a
loop."""
MAX_WARNINGS: Final = 32
"""Warnings of one message that are passed on."""
MAX_AFTER_FINISH: Final = 16
"""Messages after the finish reason: usage may come with one."""

_log = structlog.get_logger("chorus.llm")


class AnswerReader:
    """Reads the messages of one answer."""

    def __init__(
        self, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool, warn: Callable[[str], None] = ignore
    ) -> None:
        """`name` is the model's, for errors.

        `prompt_estimate` counts the prompt where the worker does not; `logprobs` tells whether they
        were asked for; `warn` gets the worker's warnings.
        """
        self._warn = warn
        self._name = name
        self._prompt_estimate = prompt_estimate
        self._wants_logprobs = logprobs
        self._text = AnswerText()
        self._is_plain = False
        """Whether text goes out as it comes (see `AnswerText.is_plain`)."""
        self._calls = CallAssembler(name)
        self._has_said = False
        self._empty = 0
        """How many messages in a row said nothing."""
        self._after_finish = 0
        self.finish: FinishReason | None = None
        """Why the answer ended, once the worker has said it. Only usage comes after it."""

    def read(self, message: pb.GenerateResponse) -> Chunk | None:
        """Return what one message adds; None when that is nothing.

        Raises:
            UpstreamProtocol: it is no piece of an answer.
        """
        text, reasoning = message.text, message.reasoning
        # most by far
        if text and self._is_plain and self.finish is None and _has_text_only(message):
            self._empty = 0
            return Chunk(text)
        for warning in message.warnings[:MAX_WARNINGS]:
            self._warn(excerpt(warning))
        try:
            others = json_object(message.openai_json, "openai_json") if message.openai_json else {}
            pieces = self._calls.take_all([_part(piece) for piece in message.tool_calls]) if message.tool_calls else ()
        except InvalidRequest as error:
            raise UpstreamProtocol(f"Upstream '{self._name}' sent what is no answer: {error}") from None
        if self.finish is not None:
            self._check_after_finish(bool(text or reasoning or message.tool_calls))
        if message.finish_reason:
            self.finish = self._finish_of(message.finish_reason)
            self._calls.end_calls()
        if text or reasoning:
            text, reasoning = self._text.feed(text, reasoning)
            self._is_plain = self._text.is_plain
        return self._chunk(text, reasoning, pieces, self._usage(message), others)

    def _chunk(
        self,
        text: str,
        reasoning: str,
        pieces: tuple[ToolPiece, ...],
        usage: Usage | None,
        others: dict[str, JSON],
    ) -> Chunk | None:
        logprobs = others.pop("logprobs", None)
        logprobs = logprobs if self._wants_logprobs and isinstance(logprobs, dict) else None
        extra: Extra | None = {
            name: value for name, value in others.items() if not wirejson.is_deeper(value, MAX_EXTRA_DEPTH)
        } or None
        if not (text or reasoning or pieces or usage or logprobs or extra):
            self._empty += 1
            if self._empty > MAX_EMPTY:
                raise UpstreamProtocol(f"Upstream '{self._name}' sent {MAX_EMPTY} messages that say nothing")
            return None
        self._empty = 0
        self._has_said = self._has_said or bool(text or reasoning or extra)
        return Chunk(text, reasoning, pieces, None, usage, logprobs, extra)

    def end(self) -> Chunk:
        """Return the closing chunk of the answer, whose stream has ended.

        Raises:
            UpstreamProtocol: no finish reason was seen.
            ContentFiltered: a filter took all of it.
        """
        if self.finish is None:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")
        pieces = tuple(self._calls.flush())
        text, reasoning = self._text.flush()
        if not (self._has_said or text or reasoning or self._calls.count):
            check_empty(self._name, self.finish)
        return Chunk(text, reasoning, pieces, final_finish(self.finish, has_calls=self._calls.count > 0))

    def _finish_of(self, number: int) -> FinishReason:
        reason = FINISH_OF.get(number)
        if reason is None:
            _log.warning("unknown_finish_reason", reason=number)
        return reason or "stop"

    def _check_after_finish(self, has_content: bool) -> None:
        self._after_finish += 1
        if has_content or self._after_finish > MAX_AFTER_FINISH:
            raise UpstreamProtocol(f"Upstream '{self._name}' went on after its finish reason")

    def _usage(self, message: pb.GenerateResponse) -> Usage | None:
        """Return the counts of a message as far as they can be believed.

        None where it has none. A prompt of which the worker does not know the length, 0, is
        estimated.
        """
        if not message.HasField("usage"):
            return None
        counts = message.usage
        completion = count_of(counts.completion_tokens)
        prompt = count_of(counts.prompt_tokens) or None
        if completion is None or (prompt is None and not completion):
            return None
        known = prompt if prompt is not None else self._prompt_estimate()
        return Usage(
            known,
            completion,
            min(count_of(counts.cached_tokens) or 0, known),
            min(count_of(counts.reasoning_tokens) or 0, completion),
            estimated=prompt is None or counts.estimated,
        )


def read_embeddings(response: pb.EmbedResponse, inputs: Sequence[str], name: str) -> Embeddings:
    """Return the vectors of `inputs` out of a worker's answer. `name` is the model's, for errors.

    Raises:
        UpstreamProtocol: there is not one vector for each of `inputs`, or they are too long.
    """
    if sum(len(embedding.values) for embedding in response.embeddings) > MAX_NUMBERS:
        raise UpstreamProtocol(f"Upstream '{name}' sent more than {MAX_NUMBERS} numbers")
    vectors = checked([list(embedding.values) for embedding in response.embeddings], inputs, name)
    tokens = count_of(response.usage.prompt_tokens)
    if not tokens:
        return Embeddings(vectors, Usage(input_estimate(inputs), estimated=True))
    return Embeddings(vectors, Usage(tokens, estimated=response.usage.estimated))


def _has_text_only(message: pb.GenerateResponse) -> bool:
    return not (
        message.reasoning
        or message.finish_reason
        or message.openai_json
        or message.tool_calls
        or message.warnings
        or message.HasField("usage")
    )


def _part(piece: pb.ToolCallPiece) -> CallPart:
    extra = json_object(piece.openai_json, "openai_json") if piece.openai_json else None
    return CallPart(piece.index, piece.id, piece.name, piece.arguments, extra or None)
