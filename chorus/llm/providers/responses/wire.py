"""The events and the responses of the Responses API as typed structures. Pure.

A field may have any type without losing the event (see `reading/lenient`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from chorus.llm.reading.lenient import REFUSED, Reader, string_of
from chorus.llm.reading.usage import usage_of
from chorus.usage import Usage
from chorus.wirejson import JSON

T = TypeVar("T", bound=msgspec.Struct)


class StreamEvent(msgspec.Struct, gc=False):
    """What is used of an event. The `response` in the events at the beginning repeats the request,
    and is not read."""

    type: JSON = None
    delta: JSON = None
    item: JSON = None
    item_id: JSON = None
    output_index: JSON = None
    annotation: JSON = None
    logprobs: JSON = None
    summary_index: JSON = None
    sequence_number: JSON = None
    error: JSON = None
    code: JSON = None
    message: JSON = None


class TextDelta(msgspec.Struct, gc=False):
    """A piece of the answer's text, as most events are. Reading it takes a third of the time."""

    delta: str
    output_index: int = 0
    sequence_number: int = -1
    logprobs: list[msgspec.Raw] = []


_TEXT_DELTA: Final = b'{"type":"response.output_text.delta",'
_decode_text: Final = msgspec.json.Decoder(TextDelta).decode


class _Holder(msgspec.Struct, gc=False):
    response: JSON = None


class _Started(msgspec.Struct, gc=False):
    id: JSON = None
    status: JSON = None


class _StartedHolder(msgspec.Struct, gc=False):
    response: _Started | None = None


class ResponseBody(msgspec.Struct, gc=False):
    """A response, whole or at the end of its stream."""

    id: JSON = None
    object: JSON = None
    status: JSON = None
    error: JSON = None
    incomplete_details: JSON = None
    output: JSON = None
    usage: JSON = None

    @property
    def items(self) -> list[dict[str, Any]]:
        """The output items."""
        return [item for item in self.output if isinstance(item, dict)] if isinstance(self.output, list) else []

    @property
    def why_incomplete(self) -> JSON:
        """The reason for which it is incomplete."""
        details = self.incomplete_details
        return details.get("reason") if isinstance(details, Mapping) else None


_EVENTS: Final = Reader(StreamEvent)
_HOLDERS: Final = Reader(_Holder)
_STARTED: Final = Reader(_StartedHolder)
_BODIES: Final = Reader(ResponseBody)


def read_text(raw: bytes) -> TextDelta | None:
    """Return a piece of the text.

    None of an event that is something else, or has to be read with care.
    """
    if not raw.startswith(_TEXT_DELTA):
        return None
    try:
        return _decode_text(raw)
    except REFUSED:
        return None


def read_event(raw: bytes) -> StreamEvent:
    """Raises ValueError or RecursionError where it cannot be read at all."""
    return _either(_EVENTS, raw)


def response_in(raw: bytes) -> ResponseBody:
    """Return the response in an event that ends a stream. Raises as `read_event`."""
    held = _either(_HOLDERS, raw).response
    fields = held if isinstance(held, dict) else {}
    return ResponseBody(*map(fields.get, ResponseBody.__struct_fields__))


def started_in(raw: bytes) -> str:
    """Return the id of the response in an event that begins a stream; an empty text where there is
    none."""
    try:
        started = _either(_STARTED, raw).response
    except (ValueError, RecursionError):
        return ""
    return string_of(started.id) if started is not None else ""


def read_response(raw: bytes) -> ResponseBody:
    """Return a whole response. Raises as `read_event`."""
    return _either(_BODIES, raw)


def usage_in(response: ResponseBody, prompt_estimate: Callable[[], int]) -> Usage | None:
    """Return the token counts of a response; None where it does not tell how long the answer is."""
    counts = response.usage
    if not isinstance(counts, Mapping):
        return None
    return usage_of(
        {
            "prompt_tokens": counts.get("input_tokens"),
            "completion_tokens": counts.get("output_tokens"),
            "total_tokens": counts.get("total_tokens"),
            "prompt_tokens_details": counts.get("input_tokens_details"),
            "completion_tokens_details": counts.get("output_tokens_details"),
        },
        prompt_estimate,
    )


def _either(reader: Reader[T], raw: bytes) -> T:
    try:
        return reader.strictly(raw)
    except REFUSED:
        return reader.leniently(raw)
