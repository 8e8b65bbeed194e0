"""The answers of an OpenAI-compatible upstream as typed structures (L2). Pure.

What is needed of an answer is its text, its reasoning, its tool calls and its end; any other field
may have any type without losing it (see `lenient`). Above: `openai_reading` makes chunks of them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chorus import wirejson
from chorus.llm.reading.lenient import REFUSED, Reader, string_of, whole
from chorus.llm.reading.tool_calls import CallPart, extra_of, parts_of
from chorus.types import Extra
from chorus.wirejson import JSON

_LOGPROBS_DEPTH: Final = 16
"""Levels of log-probabilities that are passed on; OpenAI's have six."""


# Only what is used of a reply has a type; the rest of a chunk is never built. A field whose type is
# JSON may hold anything and is looked at where it is used: msgspec refuses the whole chunk for a
# value of another type, and reading it leniently takes 20 times as long.
class Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as most upstreams send it. One with more fields is read by `read_widely`."""

    role: JSON = None
    content: JSON = None
    reasoning_content: JSON = None
    reasoning: JSON = None
    tool_calls: JSON = None
    refusal: JSON = None
    function_call: JSON = None


_FIELDS: Final = frozenset(Message.__struct_fields__)


class _ChoiceFields(msgspec.Struct, gc=False):
    """What a choice holds beside its message."""

    text: JSON = None
    finish_reason: JSON = None
    logprobs: JSON = None
    error: JSON = None


class Choice(_ChoiceFields, gc=False):
    """A choice, whose message stands in `delta` in streams."""

    delta: Message | None = None
    message: Message | None = None
    extra: Extra | None = None
    """Other fields of the message."""


class _WideChoice(_ChoiceFields, gc=False):
    delta: JSON = None
    message: JSON = None


class _BodyFields(msgspec.Struct, gc=False):
    """What a body holds beside its choices."""

    usage: JSON = None
    error: JSON = None


class Body(_BodyFields, gc=False):
    """A whole answer, or one event of a stream."""

    choices: list[Choice] | None = None


class _WideBody(_BodyFields, gc=False):
    choices: list[_WideChoice] | None = None


class _Sources(msgspec.Struct, gc=False):
    """What stands beside the choices and belongs to the answer: Perplexity's."""

    citations: JSON = None
    search_results: JSON = None


_WIDE: Final = Reader(_WideBody)
_SOURCES: Final = Reader(_Sources)

read_strictly: Final = Reader(Body).strictly
"""See `Reader.strictly`. It refuses messages with other fields than those of `Message`."""


def read_widely(raw: bytes) -> Body:
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
    return Body(wide.usage, wide.error, choices)


def _narrow(wide: _WideChoice) -> Choice:
    """Return the typed choice, with the fields of its message that are not ours in `extra`."""
    choice = Choice(wide.text, wide.finish_reason, wide.logprobs, wide.error)
    fields = wide.delta if isinstance(wide.delta, dict) else wide.message
    if isinstance(fields, dict):
        message = Message(*map(fields.get, Message.__struct_fields__))
        if fields is wide.delta:
            choice.delta = message
        else:
            choice.message = message
        choice.extra = extra_of(fields, _FIELDS)
    return choice


def plain_text(data: bytes) -> str | None:
    """Return the text of a chunk that holds nothing else; None of any other."""
    try:
        return plain_of(read_strictly(data))
    except (*REFUSED, ValueError, RecursionError):
        return None


def plain_of(body: Body) -> str | None:
    """Return the text of a body that holds nothing else; None of any other."""
    is_plain = body.choices and body.usage is None and body.error is None
    return _plain_choice(body.choices[0]) if body.choices and is_plain else None


def _plain_choice(choice: Choice) -> str | None:
    """Return the text of a choice that holds nothing else; None of any other."""
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


def text_of(message: Message) -> str:
    """Return the text of a message, which may be a refusal."""
    content = message.content
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # Mistral's reasoning models write parts
        return "".join(string_of(part.get("text")) if isinstance(part, dict) else string_of(part) for part in content)
    return string_of(message.refusal)


def reasoning_of(message: Message) -> str:
    """Return the reasoning of a message."""
    return string_of(message.reasoning_content) or string_of(message.reasoning)


def calls_of(message: Message) -> list[CallPart]:
    """Return what a message says of tool calls; the field of old, `function_call`, holds one."""
    parts = parts_of(message.tool_calls)
    old = message.function_call
    if (
        not parts
        and isinstance(old, dict)
        and (isinstance(old.get("name"), str) or isinstance(old.get("arguments"), str))
    ):
        return parts_of([{"function": old}])
    return parts


def logprobs_of(choice: Choice, raw: bytes) -> JSON:
    """Return the log-probabilities of a choice.

    None where there are none, or are nested too deep to be written again.
    """
    logprobs = choice.logprobs
    if not isinstance(logprobs, dict) or not any(logprobs.values()):
        return None
    if raw.count(b"[") + raw.count(b"{") > wirejson.MAX_DEPTH and wirejson.is_deeper(logprobs, _LOGPROBS_DEPTH):
        return None
    return logprobs


def sources_of(raw: bytes) -> dict[str, JSON]:
    """Return what stands beside the choices and belongs to the answer.

    A stream repeats it in each chunk: that most chunks are not asked for it loses nothing.
    """
    if b'"citations"' not in raw and b'"search_results"' not in raw:
        return {}
    try:
        return dict(extra_of(msgspec.structs.asdict(_SOURCES.strictly(raw)), frozenset()) or {})
    except (ValueError, RecursionError):
        return {}
