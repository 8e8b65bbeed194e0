"""The answers of an OpenAI-compatible upstream: their wire, and how they are read (L2, L5).

Sans I/O: bytes in, chunks out. What is needed of an answer is its text, its reasoning, its tool calls
and its end; any other field may have any type without losing it (see `lenient`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from chorus import wirejson
from chorus.errors import ContentFiltered, LLMError, UpstreamProtocol
from chorus.llm.base import MAX_CALLS, Chunk
from chorus.llm.counts import count_of
from chorus.llm.error_bodies import error_message
from chorus.llm.lenient import REFUSED, Reader, compact, whole
from chorus.llm.surrogates import Joiner, is_whole, mend
from chorus.llm.think import ThinkSplitter, split_thinking
from chorus.types import FinishReason, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_LOGPROBS_DEPTH: Final = 16
"""Levels of log-probabilities that are passed on; OpenAI's have six."""

_FINISH: Final[Mapping[JSON, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


# What is read of a reply. Only what is used has a type; the rest of a chunk is never built. A field
# whose type is JSON may hold anything and is looked at where it is used: msgspec refuses the whole
# chunk for a value of another type, and reading it leniently takes 20 times as long.
class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: JSON = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: JSON = None
    reasoning_content: JSON = None
    reasoning: JSON = None
    tool_calls: list[_ToolCall] | None = None
    refusal: JSON = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Message | None = None
    message: _Message | None = None
    text: JSON = None
    finish_reason: JSON = None
    logprobs: JSON = None


class _Body(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: JSON = None
    error: JSON = None


_BODY: Final = Reader(_Body)
_read_body = _BODY.strictly


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
        self._calls = _Calls(name)
        self.finish: FinishReason | None = None
        """Why the answer ended, once the upstream has said it. Only usage comes after it."""

    def read(self, data: bytes) -> Chunk | None:
        """What one event adds; None when that is nothing.

        Raises:
            LLMError: it is no chunk, or it reports an error.
        """
        try:
            body = _read_body(data)
            if self._is_plain and body.choices and body.usage is None and body.error is None:
                plain = _plain(body.choices[0])
                if plain:  # most chunks by far
                    return Chunk(plain)
        except REFUSED:
            body = self._leniently(data)
        except (ValueError, RecursionError) as problem:
            body = self._unread(data, problem)
        if body.error:
            raise in_band_error(self._name, body.error)
        usage = usage_of(body.usage, self._prompt_estimate)
        if not body.choices:
            return Chunk(usage=usage) if usage is not None else None
        return self._read_choice(body.choices[0], usage, data)

    def _leniently(self, data: bytes) -> _Body:
        try:
            return _leniently(data)
        except ValueError as problem:
            return self._unread(data, problem)

    def _unread(self, data: bytes, problem: Exception) -> _Body:
        """What stands for an event that cannot be read: nothing, where it is blank or the answer is whole already."""
        if self.finish is None and data.strip():
            raise _unreadable(data, self._name, problem) from None
        return _Body()

    def _read_choice(self, choice: _Choice, usage: Usage | None, data: bytes) -> Chunk | None:
        message = choice.delta or choice.message
        text, reasoning = _string(choice.text), ""
        pieces: tuple[ToolPiece, ...] = ()
        if message is not None:
            text = _text_of(message) or text
            reasoning = self._reasoning.feed(_reasoning_of(message))
            if message.tool_calls:
                pieces = tuple(self._calls.piece(call) for call in message.tool_calls)
        if choice.finish_reason:
            self.finish = _finish_of(choice.finish_reason)
        text = self._text.feed(text)
        if text and self._thinking is not None:
            text, thought = self._thinking.feed(text)
            reasoning += thought
            if text:  # the answer has begun: nothing is held back any more
                self._thinking = None
        self._is_plain = self._thinking is None and not self._text.held
        logprobs = _logprobs_of(choice, data) if self._wants_logprobs else None
        if not (text or reasoning or pieces or usage or logprobs):
            return None
        return Chunk(text, reasoning, pieces, None, usage, logprobs)

    def end(self, *, done: bool) -> Chunk:
        """The closing chunk of the stream; `done` says that it ended with `[DONE]`.

        Raises:
            UpstreamProtocol: neither a finish reason nor `[DONE]` was seen.
        """
        if self.finish is None and not done:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")
        finish: FinishReason = self.finish or "stop"
        if self._calls.count and finish == "stop":
            finish = "tool_calls"
        text, reasoning = self._text.flush(), self._reasoning.flush()
        if self._thinking is not None:
            text, thought = self._thinking.feed(text)
            more, rest = self._thinking.flush()
            text, reasoning = text + more, reasoning + thought + rest
        return Chunk(text, reasoning, tuple(self._calls.flush()), finish)


class _Calls:
    """Tells apart the tool calls of one stream."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids: list[str | None] = []
        """The id of each call that began."""
        self._places: dict[int | None, int] = {}
        """Which of them an index of the upstream means now."""
        self._joiners: dict[int, Joiner] = {}
        """Of those whose arguments were cut in the middle of a character."""

    @property
    def count(self) -> int:
        """How many calls began."""
        return len(self._ids)

    def piece(self, call: _ToolCall) -> ToolPiece:
        """One piece of a call, its id and name only where the call begins.

        An id that is new begins a call, whatever the index: some upstreams leave it out, and others
        say 0 for each call.

        Raises:
            UpstreamProtocol: there are more than `MAX_CALLS`.
        """
        place = self._places.get(call.index)
        known = self._ids[place] if place is not None else None
        if place is not None and (not call.id or known is None or call.id == known):
            return ToolPiece(place, arguments=self._joined(place, _arguments_of(call)))
        place = self._places[call.index] = len(self._ids)
        if place == MAX_CALLS:
            raise _too_many_calls(self._name)
        self._ids.append(call.id or None)
        id, name = _head_of(call, place)
        return ToolPiece(place, id, name, self._joined(place, _arguments_of(call)))

    def _joined(self, place: int, arguments: str) -> str:
        joiner = self._joiners.get(place)
        if joiner is None:
            if is_whole(arguments):
                return arguments
            joiner = self._joiners[place] = Joiner()
        return joiner.feed(arguments)

    def flush(self) -> Iterator[ToolPiece]:
        """What stands for the halves that were held back."""
        for place, joiner in self._joiners.items():
            if rest := joiner.flush():
                yield ToolPiece(place, arguments=rest)


def read_whole(raw: bytes, name: str, *, prompt_estimate: Callable[[], int], logprobs: bool = False) -> Chunk:
    """The one chunk of a reply that is one JSON object. The arguments are `ChunkReader`'s.

    Raises:
        LLMError: it holds no message, or it reports an error.
    """
    try:
        try:
            body = _read_body(raw)
        except REFUSED:
            body = _leniently(raw)
    except (ValueError, RecursionError) as problem:
        raise _unreadable(raw, name, problem) from None
    if body.error:
        raise in_band_error(name, body.error)
    choice = body.choices[0] if body.choices else _Choice()
    if choice.message is None and not isinstance(choice.text, str):
        raise UpstreamProtocol(f"Upstream '{name}' answered without a message")
    message = choice.message or _Message()
    text, thought = split_thinking(mend(_string(choice.text) or _text_of(message))[0])
    reasoning = mend(_reasoning_of(message))[0] or thought
    calls = message.tool_calls or []
    if len(calls) > MAX_CALLS:
        raise _too_many_calls(name)
    pieces = tuple(
        ToolPiece(place, *_head_of(call, place), mend(_arguments_of(call))[0]) for place, call in enumerate(calls)
    )
    finish = _finish_of(choice.finish_reason)
    return Chunk(
        text=text,
        reasoning=reasoning,
        tool_calls=pieces,
        finish_reason="tool_calls" if pieces and finish == "stop" else finish,
        usage=usage_of(body.usage, prompt_estimate),
        logprobs=_logprobs_of(choice, raw) if logprobs else None,
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


def in_band_error(name: str, error: JSON) -> LLMError:
    """The typed error for an `error` object inside a 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if code == "content_filter":
        return ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter")
    return LLMError(f"Upstream '{name}' reported an error in its answer", detail=error_message(error))


def _leniently(raw: bytes) -> _Body:
    """`raw` where the typed decoder refused it. Raises ValueError where nothing helps."""
    body = _BODY.leniently(raw)
    for choice in body.choices or ():
        if wirejson.is_deeper(choice.logprobs, _LOGPROBS_DEPTH):
            choice.logprobs = None
        choice.logprobs = whole(choice.logprobs)
    return body


def _unreadable(raw: bytes, name: str, problem: Exception) -> UpstreamProtocol:
    """The error for what is no chat completion. `problem` says why, and quotes nothing."""
    if not raw.strip():
        return UpstreamProtocol(f"Upstream '{name}' answered with nothing")
    is_page = raw.lstrip()[:1] == b"<"
    what = "an HTML page" if is_page else f"something that is not a chat completion ({problem})"
    return UpstreamProtocol(f"Upstream '{name}' sent {what}")


def _too_many_calls(name: str) -> UpstreamProtocol:
    return UpstreamProtocol(f"Upstream '{name}' began more than {MAX_CALLS} tool calls in one answer")


def _plain(choice: _Choice) -> str | None:
    """The text of a choice that holds nothing else; None of any other."""
    message = choice.delta
    if (
        message is None
        or choice.finish_reason is not None
        or choice.logprobs is not None
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


def _finish_of(reason: JSON) -> FinishReason:
    """What a finish reason means; one that is unknown, or not even a string, means that the answer is whole."""
    return _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"


def _head_of(call: _ToolCall, place: int) -> tuple[str, str]:
    """Id and name of a call."""
    name = call.function.name if call.function is not None else None
    return mend(call.id or f"call_{place}")[0], mend(name or "")[0]


def _arguments_of(call: _ToolCall) -> str:
    arguments = call.function.arguments if call.function is not None else None
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else compact(arguments)  # Ollama-like upstreams send the object


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
