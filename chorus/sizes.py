"""How much memory foreign data holds: one measure for requests, events and JSON, in bytes.

Every bound on kept data counts with it (traces, journals, stored responses), so that no field is
left out. The figure is an estimate from above for text and JSON: characters are counted as one byte
each, and each JSON value as `VALUE_BYTES` besides.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from chorus import wirejson
from chorus.events import Delta, Event, StageFinished, WorkersPicked
from chorus.types import Answer, ChatRequest, Image, Message, Part, Text, ToolCall, ToolPiece
from chorus.wirejson import JSON

VALUE_BYTES: Final = 64
"""Memory of a small JSON value: a string has 50 bytes, an empty list 56, a dict 64 and more."""

_EVENT_BYTES: Final = 500
_MESSAGE_BYTES: Final = 200


_json_fields: Final = attrgetter(
    "tool_choice",
    "response_format",
    "ollama_options",
    "generate_options",
    "responses_options",
    "anthropic_options",
    "extra",
)


def size_of_json(value: JSON) -> int:
    """Return the bytes that a decoded JSON value holds.

    Its commas and brackets, in strings too, stand for its values.
    """
    if not value:
        return 0
    if isinstance(value, str):
        return len(value)
    raw = wirejson.encode_upstream(value)
    return len(raw) + VALUE_BYTES * wirejson.structure_of(raw).separators


def size_of_request(request: ChatRequest) -> int:
    """Return the bytes that a request holds: messages, images, tools, and every other field."""
    size = sum(map(_size_of_message, request.messages))
    size += len(request.tools.encoded) if request.tools else 0
    size += sum(map(size_of_json, filter(None, _json_fields(request))))
    if request.sampling.stop:
        size += sum(map(len, request.sampling.stop))
    return size + _prompt_size(request.prompt) + len(request.suffix or "")


def _prompt_size(prompt: str | tuple[int, ...] | None) -> int:
    if isinstance(prompt, tuple):
        return len(prompt) * VALUE_BYTES
    return len(prompt or "")


def size_of_event(event: Event) -> int:
    """Return the bytes that an event holds.

    The answers of `RunFinished` are those of its stages, and are not counted twice.
    """
    if type(event) is StageFinished:
        answer = size_of_answer(event.answer) if event.answer is not None else 0
        return _EVENT_BYTES + answer + (size_of_json(event.details) if event.details else 0)
    if type(event) is Delta:
        return size_of_delta(event)
    return _EVENT_BYTES * (1 + len(event.picks)) if type(event) is WorkersPicked else _EVENT_BYTES


def size_of_delta(delta: Delta) -> int:
    """Return the bytes that a piece of an answer holds."""
    size = VALUE_BYTES + len(delta.text) + len(delta.reasoning)
    if delta.tool_calls:
        size += sum(map(_size_of_call, delta.tool_calls))
    if delta.logprobs is not None:
        size += size_of_json(delta.logprobs)
    if delta.extra is not None:
        size += size_of_json(delta.extra)
    return size


def size_of_answer(answer: Answer) -> int:
    """Return the bytes that a whole answer holds."""
    size = len(answer.text) + len(answer.reasoning)
    if answer.tool_calls:
        size += sum(map(_size_of_call, answer.tool_calls))
    if answer.logprobs is not None or answer.extra:
        size += size_of_json(answer.logprobs) + size_of_json(answer.extra)
    return size


def _size_of_message(message: Message) -> int:
    content = message.content
    if type(content) is str and not message.tool_calls and not message.extra:
        return _MESSAGE_BYTES + len(content) + len(message.reasoning)
    size = len(content) if isinstance(content, str) else sum(map(_size_of_part, content))
    size += sum(map(_size_of_call, message.tool_calls))
    return _MESSAGE_BYTES + size + len(message.reasoning) + size_of_json(message.extra)


def _size_of_part(part: Part) -> int:
    if isinstance(part, Text):
        return VALUE_BYTES + len(part.text) + size_of_json(part.extra)
    if isinstance(part, Image):
        return VALUE_BYTES + len(part.url) + size_of_json(part.extra)
    return size_of_json(part.data)


def _size_of_call(call: ToolCall | ToolPiece) -> int:
    texts = len(call.arguments) + len(call.name or "") + len(call.id or "")
    return 2 * VALUE_BYTES + texts + size_of_json(call.extra)
