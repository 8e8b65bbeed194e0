"""Read the answers of the Responses API: bytes in, chunks out. Sans I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.providers.responses.failures import failure
from chorus.llm.providers.responses.output_items import OutputItems
from chorus.llm.providers.responses.wire import (
    ResponseBody,
    StreamEvent,
    read_event,
    read_response,
    read_text,
    response_in,
    started_in,
    usage_in,
)
from chorus.llm.reading.endings import check_empty, is_error, page_or
from chorus.llm.reading.lenient import string_of
from chorus.types import FinishReason

ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled", "canceled"})
"""The status of a response that is over."""
_ENDS: Final = frozenset(f"response.{status}" for status in ENDED)
_BEGINS: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_INCOMPLETE: Final[dict[str, FinishReason]] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "max_tool_calls": "length",
    "content_filter": "content_filter",
}
_MAX_INDEX: Final = 100_000


class ResponseReader:
    """Reads one answer: the events of a stream, or a whole response."""

    def __init__(self, name: str, items: OutputItems, *, prompt_estimate: Callable[[], int]) -> None:
        """`name` is the model's, for errors; `prompt_estimate` counts the prompt where the upstream
        does not."""
        self._name = name
        self._items = items
        self._prompt_estimate = prompt_estimate
        self._has_items = False
        self.response_id = ""
        """The id of the response, once it is known."""
        self.sequence = -1
        """The number of the last event, by which a stream goes on."""
        self.is_over = False

    def event(self, data: bytes) -> list[Chunk]:
        """Return what one event adds.

        Raises:
            LLMError: it is none, or it reports an error.
        """
        plain = read_text(data)
        if plain is not None and not plain.logprobs and self._items.is_plain(plain.output_index):
            self.sequence = plain.sequence_number if plain.sequence_number >= 0 else self.sequence
            return [Chunk(plain.delta)] if plain.delta else []
        try:
            event = read_event(data)
        except (ValueError, RecursionError) as problem:
            raise self._unreadable(data, problem) from None
        kind = string_of(event.type)
        if type(event.sequence_number) is int:
            self.sequence = event.sequence_number
        if kind in _BEGINS:
            self.response_id = self.response_id or started_in(data)
            return []
        if kind in _ENDS:
            try:
                return list(self.response(response_in(data)))
            except (ValueError, RecursionError) as problem:
                raise self._unreadable(data, problem) from None
        if kind == "error" or is_error(event.error):
            own = {"code": event.code, "message": event.message}
            raise failure(self._name, event.error if is_error(event.error) else own)
        chunk = self._of_item(kind, event)
        return chunk if isinstance(chunk, list) else [chunk] if chunk is not None else []

    def _of_item(self, kind: str, event: StreamEvent) -> Chunk | list[Chunk] | None:
        index = event.output_index if type(event.output_index) is int else 0
        if not 0 <= index <= _MAX_INDEX:
            raise UpstreamProtocol(f"Upstream '{self._name}' numbered an output item {index}")
        items, delta = self._items, string_of(event.delta)
        match kind:
            case "response.output_text.delta":
                logprobs = event.logprobs if isinstance(event.logprobs, list) else None
                return items.spoke(index, delta, logprobs)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                return items.called(index, delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return items.thought(index, delta)
            case "response.reasoning_summary_part.added":
                items.new_thought()
            case "response.refusal.delta":
                return items.refused(index, delta)
            case "response.output_text.annotation.added":
                return items.cited(index, event.annotation)
            case "response.output_item.added" if isinstance(event.item, dict):
                return items.began(index, event.item)
            case "response.output_item.done" if isinstance(event.item, dict):
                self._has_items = True
                return items.done(index, event.item)
        return None

    def whole(self, raw: bytes) -> Iterator[Chunk]:
        """Return the chunks of a whole response.

        Raises:
            LLMError: it is none, is not over, or failed.
        """
        try:
            response = read_response(raw)
        except (ValueError, RecursionError) as problem:
            raise self._unreadable(raw, problem) from None
        if is_error(response.error) and response.status is None:
            raise failure(self._name, response.error)
        if response.object != "response" and not isinstance(response.output, list):
            raise self._unreadable(raw, ValueError("no output"))
        yield from self.response(response)

    def response(self, response: ResponseBody) -> Iterator[Chunk]:
        """Return what a response adds that is over: what has not come in events, its end and its
        usage.

        Raises:
            LLMError: it is not over, or failed.
        """
        status = response.status
        if status in ("failed", "cancelled", "canceled") or is_error(response.error):
            shown = response.error if is_error(response.error) else {"message": f"the response is {status}"}
            raise failure(self._name, shown)
        if isinstance(status, str) and status not in ENDED:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its answer while it is '{status[:40]}'")
        if not self._has_items:
            for index, item in enumerate(response.items):
                yield from self._items.done(index, item)
        last = self._items.flush()
        finish = self._finish(response)
        if not (self._items.has_said or last.text or last.reasoning or last.extra):
            check_empty(self._name, finish)
        self.is_over = True
        yield msgspec.structs.replace(last, finish_reason=finish, usage=usage_in(response, self._prompt_estimate))

    def cut(self) -> UpstreamProtocol:
        """Return the error for a stream that ended before its answer."""
        return UpstreamProtocol(f"Upstream '{self._name}' ended its stream before the response was over")

    def _finish(self, response: ResponseBody) -> FinishReason:
        if response.status == "incomplete":
            return _INCOMPLETE.get(string_of(response.why_incomplete), "length")
        if self._items.is_refusal:
            return "content_filter"
        return "tool_calls" if self._items.has_calls else "stop"

    def _unreadable(self, raw: bytes, problem: Exception) -> UpstreamProtocol:
        """Return the error for what is no response. `problem` says why, and quotes nothing."""
        if not raw.strip():
            return UpstreamProtocol(f"Upstream '{self._name}' answered with nothing")
        what = page_or(raw, f"something that is not a response of the Responses API ({problem})")
        return UpstreamProtocol(f"Upstream '{self._name}' sent {what}")


def status_of(raw: bytes) -> tuple[str, str]:
    """Return the id and the status of a response that may go on; empty texts where it has none."""
    try:
        response = read_response(raw)
    except (ValueError, RecursionError):
        return "", ""
    return string_of(response.id), string_of(response.status)
