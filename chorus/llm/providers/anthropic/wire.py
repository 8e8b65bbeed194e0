"""What an answer of the Messages API is made of, in our words: usage, stop reasons, errors.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chorus.anthropic_content import STOP
from chorus.errors import LLMError
from chorus.llm.counts import count_of
from chorus.llm.reading.endings import finish_of, in_band_error
from chorus.llm.reading.error_bodies import error_message
from chorus.llm.reading.lenient import REFUSED, Reader
from chorus.llm.transport.upstream_errors import status_error
from chorus.types import FinishReason
from chorus.usage import Usage
from chorus.wirejson import JSON

_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that stands for each type of error, where one comes in the middle of a stream."""
_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_TOLD_APART: Final = frozenset({"stop_sequence", "pause_turn", "model_context_window_exceeded"})


class WireEvent(msgspec.Struct, gc=False):
    """One event of a stream. A field whose type is JSON is looked at where it is used."""

    type: JSON = None
    index: JSON = None
    delta: JSON = None
    content_block: JSON = None
    message: JSON = None
    usage: JSON = None
    error: JSON = None


class WireMessage(msgspec.Struct, gc=False):
    """A whole answer, or the beginning of one in a stream."""

    type: JSON = None
    content: JSON = None
    stop_reason: JSON = None
    stop_sequence: JSON = None
    stop_details: JSON = None
    usage: JSON = None
    error: JSON = None


_EVENTS: Final = Reader(WireEvent)
_MESSAGES: Final = Reader(WireMessage)


def read_event(data: bytes) -> WireEvent:
    """Return one event of a stream. Raises ValueError or RecursionError where it cannot be read."""
    try:
        return _EVENTS.strictly(data)
    except REFUSED:
        return _EVENTS.leniently(data)


def text_delta_of(data: bytes) -> str | None:
    """Return the text of an event that is a piece of text and nothing else; None of any other."""
    try:
        event = _EVENTS.strictly(data)
    except (*REFUSED, ValueError, RecursionError):
        return None
    delta = event.delta
    is_piece = event.type == "content_block_delta" and isinstance(delta, dict) and delta.get("type") == "text_delta"
    text = delta.get("text") if is_piece and isinstance(delta, dict) else None
    return text if type(text) is str else None


def read_message(raw: bytes) -> WireMessage:
    """Return a whole answer. Raises ValueError or RecursionError where it cannot be read."""
    try:
        return _MESSAGES.strictly(raw)
    except REFUSED:
        return _MESSAGES.leniently(raw)


def finish_reason_of(stop_reason: JSON) -> FinishReason | None:
    """Return what a stop reason means; None where there is none, or it is unknown."""
    known = _FINISH.get(stop_reason) if isinstance(stop_reason, str) else None
    return known or finish_of(stop_reason)


def stop_of(stop_reason: JSON, stop_sequence: JSON) -> dict[str, JSON] | None:
    """Return the extra fields that tell a stop reason from others of the same meaning.

    None where none is needed.
    """
    if stop_reason not in _TOLD_APART:
        return None
    sequence = {"stop_sequence": stop_sequence} if isinstance(stop_sequence, str) else {}
    return {STOP: {"stop_reason": stop_reason, **sequence}}


def reported_error(name: str, error: JSON) -> LLMError:
    """Return the typed error for an `error` that upstream `name` reports inside of a 200."""
    inner: Any = error
    while isinstance(inner, dict) and isinstance(inner.get("error"), dict):
        inner = inner["error"]
    status = _STATUSES.get(inner.get("type", "")) if isinstance(inner, dict) else None
    return status_error(status, name, error_message(inner), {}) if status is not None else in_band_error(name, error)


class UsageReader:
    """Adds up the counts of a stream.

    The prompt comes first, the answer last, each as a total so far.
    """

    def __init__(self, prompt_estimate: Callable[[], int]) -> None:
        self._prompt_estimate = prompt_estimate
        self._counts: dict[str, int] = {}

    def take(self, usage: JSON) -> None:
        """Take one `usage`."""
        if not isinstance(usage, dict):
            return
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            if (count := count_of(usage.get(name))) is not None:
                self._counts[name] = count
        details = usage.get("output_tokens_details")
        if isinstance(details, dict) and (thought := count_of(details.get("thinking_tokens"))) is not None:
            self._counts["thinking_tokens"] = thought

    def usage(self) -> Usage | None:
        """Return what was reported; None where that is not how long the answer is."""
        counts = self._counts
        if "output_tokens" not in counts:
            return None
        read, written = counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)
        is_known = "input_tokens" in counts
        fresh = counts["input_tokens"] if is_known else max(0, self._prompt_estimate() - read - written)
        answered = counts["output_tokens"]
        return Usage(
            fresh + read + written,
            answered,
            read,
            min(counts.get("thinking_tokens", 0), answered),
            estimated=not is_known,
            cache_write_tokens=written,
        )
