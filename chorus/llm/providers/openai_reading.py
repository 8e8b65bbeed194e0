"""The answers of an OpenAI-compatible upstream: their wire, and how they are read (L2, L5).

Sans I/O: bytes in, chunks out. What is needed of an answer is its text, its reasoning, its tool calls
and its end; any other field may have any type without losing it (see `lenient`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.counts import count_of
from chorus.llm.reading.endings import (
    bare_error,
    check_empty,
    failed_choice,
    finish_of,
    in_band_error,
    is_error,
    is_failure,
)
from chorus.llm.reading.lenient import REFUSED, Reader, value_of, whole
from chorus.llm.reading.plain_chunks import PlainChunks
from chorus.llm.reading.surrogates import Joiner, mend
from chorus.llm.reading.thinking import ThinkSplitter, split_thinking
from chorus.llm.reading.tool_calls import CallAssembler, CallPart, extra_of, parts_of, whole_calls
from chorus.types import Extra, FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_LOGPROBS_DEPTH: Final = 16
"""Levels of log-probabilities that are passed on; OpenAI's have six."""


# What is read of a reply. Only what is used has a type; the rest of a chunk is never built. A field
# whose type is JSON may hold anything and is looked at where it is used: msgspec refuses the whole
# chunk for a value of another type, and reading it leniently takes 20 times as long.
class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as most upstreams send it. One with more fields is read by `_WideBody`."""

    role: JSON = None
    content: JSON = None
    reasoning_content: JSON = None
    reasoning: JSON = None
    tool_calls: JSON = None
    refusal: JSON = None
    function_call: JSON = None


_FIELDS: Final = frozenset(_Message.__struct_fields__)


class _Choice(msgspec.Struct, gc=False):
    delta: _Message | None = None
    message: _Message | None = None
    text: JSON = None
    finish_reason: JSON = None
    logprobs: JSON = None
    error: JSON = None
    extra: Extra | None = None
    """Other fields of the message."""


class _Body(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: JSON = None
    error: JSON = None


class _WideChoice(msgspec.Struct, gc=False):
    delta: JSON = None
    message: JSON = None
    text: JSON = None
    finish_reason: JSON = None
    logprobs: JSON = None
    error: JSON = None


class _WideBody(msgspec.Struct, gc=False):
    choices: list[_WideChoice] | None = None
    usage: JSON = None
    error: JSON = None


class _Sources(msgspec.Struct, gc=False):
    """What stands beside the choices and belongs to the answer: Perplexity's."""

    citations: JSON = None
    search_results: JSON = None


_BODY: Final = Reader(_Body)
_WIDE: Final = Reader(_WideBody)
_SOURCES: Final = Reader(_Sources)
_read_body = _BODY.strictly


def _widely(raw: bytes) -> _Body:
    """`raw`, whose messages have fields that are not ours, or which the typed decoder cannot read.

    Raises:
        ValueError, RecursionError: it cannot be read at all.
    """
    try:
        wide = _WIDE.strictly(raw)
    except REFUSED:
        wide = _WIDE.leniently(raw)
        for choice in wide.choices or ():
            if wirejson.is_deeper(choice.logprobs, _LOGPROBS_DEPTH):
                choice.logprobs = None
            choice.logprobs = whole(choice.logprobs)
    choices = None if wide.choices is None else [_narrow(choice) for choice in wide.choices]
    return _Body(choices, wide.usage, wide.error)


def _narrow(wide: _WideChoice) -> _Choice:
    delta, message = wide.delta, wide.message
    fields = delta if isinstance(delta, dict) else message if isinstance(message, dict) else {}
    known = _Message(*map(fields.get, _Message.__struct_fields__))
    extra = extra_of(fields, _FIELDS)
    return _Choice(
        known if isinstance(delta, dict) else None,
        known if isinstance(message, dict) and not isinstance(delta, dict) else None,
        wide.text,
        wide.finish_reason,
        wide.logprobs,
        wide.error,
        extra,
    )


_NOTHING: Final = frozenset({b"", b"null", b"[]", b'""'})
"""Events that some servers send to keep a connection alive."""


class ChunkReader:
    """Reads the events of one stream.

    It keeps thinking apart, joins characters that were cut in two, and knows whether the stream ended
    as it must.
    """

    def __init__(self, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool = False) -> None:
        """`name` is the model's, for errors; `prompt_estimate` counts the prompt where the upstream does not;
        `logprobs` tells whether they were asked for."""
        self._name = name
        self._prompt_estimate = prompt_estimate
        self._wants_logprobs = logprobs
        self._thinking: ThinkSplitter | None = ThinkSplitter()
        self._is_plain = False
        """Whether text goes out as it comes: the answer has begun, and no half of a character is held."""
        self._text = Joiner()
        self._reasoning = Joiner()
        self._calls = CallAssembler(name)
        self._has_said = False
        """Whether anything of the answer was read."""
        self._unknown_finish = False
        self._sources: dict[str, JSON] = {}
        """What stands beside the choices and belongs to the answer. Perplexity repeats it in each chunk."""
        self._is_wide = False
        """Whether the messages of this stream have fields that are not ours: they are read by `_WideBody` at once."""
        self._plain_chunks = PlainChunks(_plain_text)
        self.finish: FinishReason | None = None
        """Why the answer ended, once the upstream has said it. Only usage comes after it."""

    def read(self, data: bytes) -> Chunk | None:
        """What one event adds; None when that is nothing.

        Raises:
            LLMError: it is no chunk, or it reports an error.
        """
        if self._is_plain and (text := self._plain_chunks.text_of(data)):  # most chunks by far
            return Chunk(text)
        try:
            body = _read_body(data) if not self._is_wide else _widely(data)
            if self._is_plain and (plain := _plain_of(body)):
                self._plain_chunks.learn(data, plain)
                return Chunk(plain)
        except REFUSED as problem:
            body = self._widely(data, has_other_fields=type(problem) is msgspec.ValidationError)
        except (ValueError, RecursionError) as problem:
            body = self._unread(data, problem)
        if is_error(body.error):
            raise in_band_error(self._name, body.error)
        self._sources |= _sources_of(data)
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

    def _widely(self, data: bytes, *, has_other_fields: bool) -> _Body:
        try:
            body = _widely(data)
        except (ValueError, RecursionError) as problem:
            return self._unread(data, problem)
        self._is_wide = self._is_wide or has_other_fields
        return body

    def _unread(self, data: bytes, problem: Exception) -> _Body:
        """What stands for an event that cannot be read: nothing, where it says nothing or the answer is whole already."""
        if self.finish is None and data.strip() not in _NOTHING:
            raise _unreadable(data, self._name, problem) from None
        return _Body()

    def _read_choice(self, choice: _Choice, usage: Usage | None, data: bytes) -> Chunk | None:
        if is_error(choice.error) or is_failure(choice.finish_reason):
            raise failed_choice(self._name, choice.error, choice.finish_reason)
        message = choice.delta or choice.message
        text, reasoning = _string(choice.text), ""
        pieces: tuple[ToolPiece, ...] = ()
        if message is not None:
            text = _text_of(message) or text
            reasoning = self._reasoning.feed(_reasoning_of(message))
            if message.tool_calls or message.function_call:
                pieces = self._calls.take_all(_calls_of(message))
        if choice.finish_reason:
            self._calls.end_calls()
            self.finish = finish_of(choice.finish_reason)
            self._unknown_finish = self.finish is None
            self.finish = self.finish or "stop"
        text = self._text.feed(text)
        if text and self._thinking is not None:
            text, thought = self._thinking.feed(text)
            reasoning += thought
            if text:  # the answer has begun: nothing is held back any more
                self._thinking = None
        self._is_plain = self._thinking is None and not self._text.held
        logprobs = _logprobs_of(choice, data) if self._wants_logprobs else None
        if not (text or reasoning or pieces or usage or logprobs or choice.extra):
            return None
        if text or reasoning or choice.extra:
            self._has_said = True
        return Chunk(text, reasoning, pieces, None, usage, logprobs, choice.extra)

    def end(self, *, done: bool) -> Chunk:
        """The closing chunk of the stream; `done` says that it ended with `[DONE]`.

        Raises:
            UpstreamProtocol: neither a finish reason nor `[DONE]` was seen.
        """
        if self.finish is None and not done:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")
        finish: FinishReason = self.finish or "stop"
        pieces = tuple(self._calls.flush())
        text, reasoning = self._text.flush(), self._reasoning.flush()
        if self._thinking is not None:
            text, thought = self._thinking.feed(text)
            more, rest = self._thinking.flush()
            text, reasoning = text + more, reasoning + thought + rest
        if not (self._has_said or text or reasoning or self._calls.count):
            check_empty(self._name, None if self.finish is None or self._unknown_finish else finish)
        if self._calls.count and finish == "stop":
            finish = "tool_calls"
        return Chunk(text, reasoning, pieces, finish, extra=self._sources or None)


def read_whole(raw: bytes, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool = False) -> Chunk:
    """The one chunk of a reply that is one JSON object. The arguments are `ChunkReader`'s.

    Raises:
        LLMError: it holds no message, or it reports an error.
    """
    try:
        try:
            body = _read_body(raw)
        except REFUSED:
            body = _widely(raw)
    except (ValueError, RecursionError) as problem:
        raise _unreadable(raw, name, problem) from None
    if is_error(body.error):
        raise in_band_error(name, body.error)
    choice = body.choices[0] if body.choices else _Choice()
    if is_error(choice.error) or is_failure(choice.finish_reason):
        raise failed_choice(name, choice.error, choice.finish_reason)
    if choice.message is None and not isinstance(choice.text, str):
        raise UpstreamProtocol(f"Upstream '{name}' answered without a message")
    message = choice.message or _Message()
    text, thought = split_thinking(mend(_string(choice.text) or _text_of(message))[0])
    reasoning = mend(_reasoning_of(message))[0] or thought
    pieces = whole_calls(_calls_of(message), name)
    finish = finish_of(choice.finish_reason)
    if not (text or reasoning or pieces or choice.extra):
        check_empty(name, finish)
    finish = finish or "stop"
    return Chunk(
        text=text,
        reasoning=reasoning,
        tool_calls=pieces,
        finish_reason="tool_calls" if pieces and finish == "stop" else finish,
        usage=usage_of(body.usage, prompt_estimate),
        logprobs=_logprobs_of(choice, raw) if logprobs else None,
        extra={**(choice.extra or {}), **_sources_of(raw)} or None,
    )


def usage_of(value: JSON, prompt_estimate: Callable[[], int]) -> Usage | None:
    """The token counts of a `usage` object; None where it does not tell how long the answer is.

    What is missing of prompt, completion and total is worked out from the other two; a prompt that
    still is not known is estimated. Who collects the answer estimates its length.
    """
    if not isinstance(value, dict):
        return None
    prompt, completion = count_of(value.get("prompt_tokens")), count_of(value.get("completion_tokens"))
    total = count_of(value.get("total_tokens"))
    if completion is None and prompt is not None and total is not None and total >= prompt:
        completion = total - prompt
    if completion is None:
        return None
    if prompt is None and total is not None and total >= completion:
        prompt = total - completion
    known = prompt if prompt is not None else prompt_estimate()
    cached = _detail(value, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(value, "completion_tokens_details", "reasoning_tokens")
    return Usage(known, completion, min(cached, known), reasoning, estimated=prompt is None)


def _detail(usage: Mapping[str, JSON], group: str, name: str) -> int:
    details = usage.get(group)
    return (count_of(details.get(name)) or 0) if isinstance(details, dict) else 0


def _sources_of(raw: bytes) -> dict[str, JSON]:
    """What stands beside the choices and belongs to the answer. A stream repeats it in each chunk: that most chunks
    are not asked for it loses nothing."""
    if b'"citations"' not in raw and b'"search_results"' not in raw:
        return {}
    try:
        return dict(extra_of(msgspec.structs.asdict(_SOURCES.strictly(raw)), frozenset()) or {})
    except (ValueError, RecursionError):
        return {}


def _unreadable(raw: bytes, name: str, problem: Exception) -> UpstreamProtocol:
    """The error for what is no chat completion. `problem` says why, and quotes nothing."""
    if not raw.strip():
        return UpstreamProtocol(f"Upstream '{name}' answered with nothing")
    is_page = raw.lstrip()[:1] == b"<"
    what = "an HTML page" if is_page else f"something that is not a chat completion ({problem})"
    return UpstreamProtocol(f"Upstream '{name}' sent {what}")


def _plain_text(data: bytes) -> str | None:
    """The text of a chunk that holds nothing else; None of any other."""
    try:
        return _plain_of(_read_body(data))
    except (*REFUSED, ValueError, RecursionError):
        return None


def _plain_of(body: _Body) -> str | None:
    is_plain = body.choices and body.usage is None and body.error is None
    return _plain(body.choices[0]) if body.choices and is_plain else None


def _plain(choice: _Choice) -> str | None:
    """The text of a choice that holds nothing else; None of any other."""
    message = choice.delta
    if (
        message is None
        or choice.finish_reason is not None
        or choice.logprobs is not None
        or choice.error is not None
        or choice.extra is not None
        or message.tool_calls is not None
        or message.reasoning_content is not None
        or message.reasoning is not None
    ):
        return None
    text = message.content
    return text if type(text) is str else None


def _text_of(message: _Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # Mistral's reasoning models write parts
        return "".join(_string(part.get("text")) if isinstance(part, dict) else _string(part) for part in content)
    return _string(message.refusal)


def _reasoning_of(message: _Message) -> str:
    return _string(message.reasoning_content) or _string(message.reasoning)


def _calls_of(message: _Message) -> list[CallPart]:
    """What a message says of tool calls; the field of old, `function_call`, holds one."""
    parts = parts_of(message.tool_calls)
    old = message.function_call
    if (
        not parts
        and isinstance(old, dict)
        and (isinstance(old.get("name"), str) or isinstance(old.get("arguments"), str))
    ):
        return parts_of([{"function": old}])
    return parts


def _logprobs_of(choice: _Choice, raw: bytes) -> JSON:
    """The log-probabilities of a choice; None where there are none, or are nested too deep to be written again."""
    logprobs = choice.logprobs
    if not isinstance(logprobs, dict) or not any(logprobs.values()):
        return None
    if raw.count(b"[") + raw.count(b"{") > wirejson.MAX_DEPTH and wirejson.is_deeper(logprobs, _LOGPROBS_DEPTH):
        return None
    return logprobs


def _string(value: JSON) -> str:
    return value if isinstance(value, str) else ""
