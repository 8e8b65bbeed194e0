"""Read the answers of an OpenAI-compatible upstream (L2, L5).

Sans I/O: bytes in, chunks out. Below: `openai_wire` has the structures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.providers.openai_wire import (
    Body,
    Choice,
    Message,
    calls_of,
    logprobs_of,
    plain_of,
    plain_text,
    read_strictly,
    read_widely,
    reasoning_of,
    sources_of,
    text_of,
)
from chorus.llm.reading.answer_text import AnswerText
from chorus.llm.reading.endings import (
    bare_error,
    check_empty,
    failed_choice,
    final_finish,
    finish_of,
    in_band_error,
    is_error,
    is_failure,
    page_or,
)
from chorus.llm.reading.lenient import REFUSED, string_of, value_of
from chorus.llm.reading.plain_chunks import PlainChunks
from chorus.llm.reading.surrogates import mend
from chorus.llm.reading.thinking import split_thinking
from chorus.llm.reading.tool_calls import CallAssembler, whole_calls
from chorus.llm.reading.usage import usage_of
from chorus.types import FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_NOTHING: Final = frozenset({b"", b"null", b"[]", b'""'})
"""Events that some servers send to keep a connection alive."""


class ChunkReader:
    """Reads the events of one stream.

    It keeps thinking apart, joins characters that were cut in two, and knows whether the stream
    ended as it must.
    """

    def __init__(self, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool = False) -> None:
        """`name` is the model's, for errors.

        `prompt_estimate` counts the prompt where the upstream does not; `logprobs` tells whether
        they were asked for.
        """
        self._name = name
        self._prompt_estimate = prompt_estimate
        self._wants_logprobs = logprobs
        self._text = AnswerText()
        self._is_plain = False
        """Whether text goes out as it comes (see `AnswerText.is_plain`)."""
        self._calls = CallAssembler(name)
        self._has_said = False
        """Whether anything of the answer was read."""
        self._unknown_finish = False
        self._sources: dict[str, JSON] = {}
        """What stands beside the choices and belongs to the answer.

        Perplexity repeats it in each chunk.
        """
        self._is_wide = False
        """Whether the messages of this stream have fields that are not ours: they are read by
        `read_widely` at once."""
        self._plain_chunks = PlainChunks(plain_text)
        self.finish: FinishReason | None = None
        """Why the answer ended, once the upstream has said it. Only usage comes after it."""

    def read(self, data: bytes) -> Chunk | None:
        """Return what one event adds; None when that is nothing.

        Raises:
            LLMError: it is no chunk, or it reports an error.
        """
        if self._is_plain and (text := self._plain_chunks.text_of(data)):  # most chunks by far
            return Chunk(text)
        try:
            body = read_strictly(data) if not self._is_wide else read_widely(data)
            if self._is_plain and (plain := plain_of(body)):
                self._plain_chunks.learn(data, plain)
                return Chunk(plain)
        except REFUSED as problem:
            body = self._widely(data, has_other_fields=type(problem) is msgspec.ValidationError)
        except (ValueError, RecursionError) as problem:
            body = self._unread(data, problem)
        if is_error(body.error):
            raise in_band_error(self._name, body.error)
        self._sources |= sources_of(data)
        usage = usage_of(body.usage, self._prompt_estimate)
        if not body.choices:
            if body.choices is None and usage is None and self.finish is None:
                self._check_bare(data)
            return Chunk(usage=usage) if usage is not None else None
        return self._read_choice(body.choices[0], usage, data)

    def _check_bare(self, data: bytes) -> None:
        """Raises LLMError where an event without choices reports an error in a shape of its own."""
        try:
            error = bare_error(value_of(data))
        except ValueError:
            return
        if error is not None:
            raise in_band_error(self._name, error)

    def _widely(self, data: bytes, *, has_other_fields: bool) -> Body:
        try:
            body = read_widely(data)
        except (ValueError, RecursionError) as problem:
            return self._unread(data, problem)
        self._is_wide = self._is_wide or has_other_fields
        return body

    def _unread(self, data: bytes, problem: Exception) -> Body:
        """Return what stands for an event that cannot be read: nothing, where it says nothing or
        the answer is whole already.
        """
        if self.finish is None and data.strip() not in _NOTHING:
            raise _unreadable(data, self._name, problem) from None
        return Body()

    def _read_choice(self, choice: Choice, usage: Usage | None, data: bytes) -> Chunk | None:
        if is_error(choice.error) or is_failure(choice.finish_reason):
            raise failed_choice(self._name, choice.error, choice.finish_reason)
        message = choice.delta or choice.message
        text, reasoning = string_of(choice.text), ""
        pieces: tuple[ToolPiece, ...] = ()
        if message is not None:
            text, reasoning = text_of(message) or text, reasoning_of(message)
            if message.tool_calls or message.function_call:
                pieces = self._calls.take_all(calls_of(message))
        if choice.finish_reason:
            self._calls.end_calls()
            self.finish = finish_of(choice.finish_reason)
            self._unknown_finish = self.finish is None
            self.finish = self.finish or "stop"
        text, reasoning = self._text.feed(text, reasoning)
        self._is_plain = self._text.is_plain
        logprobs = logprobs_of(choice, data) if self._wants_logprobs else None
        if not (text or reasoning or pieces or usage or logprobs or choice.extra):
            return None
        if text or reasoning or choice.extra:
            self._has_said = True
        return Chunk(text, reasoning, pieces, None, usage, logprobs, choice.extra)

    def end(self, *, done: bool) -> Chunk:
        """Return the closing chunk of the stream; `done` says that it ended with `[DONE]`.

        Raises:
            UpstreamProtocol: neither a finish reason nor `[DONE]` was seen.
        """
        if self.finish is None and not done:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")
        pieces = tuple(self._calls.flush())
        text, reasoning = self._text.flush()
        if not (self._has_said or text or reasoning or self._calls.count):
            check_empty(self._name, None if self._unknown_finish else self.finish)
        finish = final_finish(self.finish, has_calls=self._calls.count > 0)
        return Chunk(text, reasoning, pieces, finish, extra=self._sources or None)


def read_whole(raw: bytes, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool = False) -> Chunk:
    """Return the one chunk of a reply that is one JSON object. The arguments are `ChunkReader`'s.

    Raises:
        LLMError: it holds no message, or it reports an error.
    """
    try:
        try:
            body = read_strictly(raw)
        except REFUSED:
            body = read_widely(raw)
    except (ValueError, RecursionError) as problem:
        raise _unreadable(raw, name, problem) from None
    if is_error(body.error):
        raise in_band_error(name, body.error)
    choice = body.choices[0] if body.choices else Choice()
    if is_error(choice.error) or is_failure(choice.finish_reason):
        raise failed_choice(name, choice.error, choice.finish_reason)
    if choice.message is None and not isinstance(choice.text, str):
        raise UpstreamProtocol(f"Upstream '{name}' answered without a message")
    message = choice.message or Message()
    text, thought = split_thinking(mend(string_of(choice.text) or text_of(message))[0])
    reasoning = mend(reasoning_of(message))[0] or thought
    pieces = whole_calls(calls_of(message), name)
    finish = finish_of(choice.finish_reason)
    if not (text or reasoning or pieces or choice.extra):
        check_empty(name, finish)
    return Chunk(
        text=text,
        reasoning=reasoning,
        tool_calls=pieces,
        finish_reason=final_finish(finish, has_calls=bool(pieces)),
        usage=usage_of(body.usage, prompt_estimate),
        logprobs=logprobs_of(choice, raw) if logprobs else None,
        extra={**(choice.extra or {}), **sources_of(raw)} or None,
    )


def _unreadable(raw: bytes, name: str, problem: Exception) -> UpstreamProtocol:
    """Return the error for what is no chat completion. `problem` says why, and quotes nothing."""
    if not raw.strip():
        return UpstreamProtocol(f"Upstream '{name}' answered with nothing")
    what = page_or(raw, f"something that is not a chat completion ({problem})")
    return UpstreamProtocol(f"Upstream '{name}' sent {what}")
