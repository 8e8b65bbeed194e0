"""Read the answers of the Messages API (L2, L5). Sans I/O: bytes in, chunks out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.extras import Extras
from chorus.llm.base import Chunk
from chorus.llm.providers.anthropic.content import Content
from chorus.llm.providers.anthropic.wire import (
    UsageReader,
    finish_reason_of,
    read_event,
    read_message,
    reported_error,
    stop_of,
    text_delta_of,
)
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.reading.answer_text import AnswerText
from chorus.llm.reading.endings import check_empty, final_finish, is_error, page_or
from chorus.llm.reading.lenient import string_of
from chorus.llm.reading.plain_chunks import PlainChunks
from chorus.types import Extra, FinishReason, ToolPiece
from chorus.wirejson import JSON

_NOTHING: Final = Chunk()


class EventReader:
    """Reads the events of one stream.

    Events and blocks that are not known are passed over: the API adds some.
    """

    def __init__(self, name: str, *, prompt_estimate: Callable[[], int], names: OwnNames | None = None) -> None:
        """`name` is the model's, for errors.

        `prompt_estimate` counts the prompt where the upstream does not. `names` has the client's
        names of tools.
        """
        self._name = name
        self._usage = UsageReader(prompt_estimate)
        self._content = Content(name, names)
        self._text = AnswerText()
        self._plain_chunks = PlainChunks(text_delta_of, "text")
        self._plain_index = -1
        """The block whose pieces `_plain_chunks` knows."""
        self._has_said = False
        self._finish: FinishReason | None = None
        self._stop: Extra | None = None
        self._explanation = ""
        self.has_stopped = False
        """Whether the upstream has said why the answer ended."""
        self.is_done = False
        """Whether the last event has come."""

    def read(self, data: bytes) -> Chunk | None:
        """Return what one event adds; None when that is nothing.

        Raises:
            LLMError: it is no event, or it reports an error.
        """
        if self._text.is_plain and (text := self._plain_chunks.text_of(data)):  # most events by far
            return Chunk(text) if self._content.add_text(self._plain_index, text) else None
        try:
            event = read_event(data)
        except (ValueError, RecursionError) as problem:
            if not data.strip() or self.has_stopped:
                return None
            what = page_or(data, f"something that is not an event of a message ({problem})")
            raise UpstreamProtocol(f"Upstream '{self._name}' sent {what}") from None
        if is_error(event.error):
            raise reported_error(self._name, event.error)
        kind, index = event.type, event.index if type(event.index) is int else -1
        chunk: Chunk | None = None
        if kind == "content_block_delta" and isinstance(event.delta, Mapping):
            chunk = self._content.extend(index, event.delta)
            if chunk is not None and chunk.text and self._text.is_plain:
                self._plain_chunks.learn(data, chunk.text)
                self._plain_index = index
        elif kind == "content_block_start" and isinstance(event.content_block, Mapping):
            chunk = self._content.begin(index, event.content_block)
        elif kind == "content_block_stop":
            chunk = self._content.end(index)
        elif kind == "message_start" and isinstance(event.message, Mapping):
            self._usage.take(event.message.get("usage"))
        elif kind == "message_delta":
            self._usage.take(event.usage)
            if isinstance(event.delta, Mapping):
                self.stopped(event.delta)
        elif kind == "message_stop":
            self.is_done = True
        return self._out(chunk) if chunk is not None else None

    def stopped(self, fields: Mapping[str, JSON]) -> None:
        """Take why the answer ended."""
        reason = fields.get("stop_reason")
        if not reason:
            return
        self.has_stopped = True
        self._finish = finish_reason_of(reason)
        self._stop = stop_of(reason, fields.get("stop_sequence"))
        details = fields.get("stop_details")
        if isinstance(details, Mapping):
            self._explanation = string_of(details.get("explanation"))

    def _out(self, chunk: Chunk) -> Chunk | None:
        """Return `chunk` with whole characters only; None where nothing is left."""
        text, reasoning = self._text.feed(chunk.text, chunk.reasoning)
        if text != chunk.text or reasoning != chunk.reasoning:
            chunk = msgspec.structs.replace(chunk, text=text, reasoning=reasoning)
        if not (text or reasoning or chunk.tool_calls or chunk.extra):
            return None
        self._has_said = True
        return chunk

    def end(self) -> Chunk:
        """Return the closing chunk of the stream.

        Raises:
            UpstreamProtocol: it has not said why the answer ended.
            ContentFiltered: the answer was refused without a word.
        """
        if not self.has_stopped:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a stop reason")
        last = self._content.end_all() or _NOTHING
        text, reasoning = self._text.flush()
        if self._finish == "content_filter" and not (self._has_said or text):
            text = self._explanation
        if not (self._has_said or text or reasoning or last.extra):
            check_empty(self._name, self._finish)
        extra = {**(last.extra or {}), **(self._stop or {})} or None
        finish = final_finish(self._finish, has_calls=self._content.calls > 0)
        return Chunk(text, reasoning, last.tool_calls, finish, self._usage.usage(), extra=extra)

    def take_whole(self, content: JSON, usage: JSON) -> Iterator[Chunk]:
        """Take a content that came whole, and return its pieces."""
        self._usage.take(usage)
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, Mapping):
                for chunk in (self._content.begin(index, block), self._content.end(index)):
                    if chunk is not None and (out := self._out(chunk)) is not None:
                        yield out


def read_whole(raw: bytes, name: str, *, prompt_estimate: Callable[[], int], names: OwnNames | None = None) -> Chunk:
    """Return the one chunk of a reply that is one JSON object. The arguments are `EventReader`'s.

    Raises:
        LLMError: it is no message, or it reports an error.
    """
    try:
        message = read_message(raw)
    except (ValueError, RecursionError) as problem:
        what = page_or(raw, f"something that is not a message ({problem})") if raw.strip() else "nothing"
        raise UpstreamProtocol(f"Upstream '{name}' sent {what}") from None
    if is_error(message.error):
        raise reported_error(name, message.error)
    if not isinstance(message.content, list):
        raise UpstreamProtocol(f"Upstream '{name}' answered without a message")
    reader = EventReader(name, prompt_estimate=prompt_estimate, names=names)
    chunks = list(reader.take_whole(message.content, message.usage))
    reader.stopped(msgspec.structs.asdict(message))
    chunks.append(reader.end())
    extras = Extras()
    for chunk in chunks:
        extras.add(chunk.extra or {})
    return Chunk(
        "".join(chunk.text for chunk in chunks),
        "".join(chunk.reasoning for chunk in chunks),
        _joined(chunks),
        chunks[-1].finish_reason,
        chunks[-1].usage,
        extra=extras.whole() or None,
    )


def _joined(chunks: list[Chunk]) -> tuple[ToolPiece, ...]:
    """Return the calls of a whole answer, each in one piece."""
    calls: dict[int, ToolPiece] = {}
    for piece in (piece for chunk in chunks for piece in chunk.tool_calls):
        before = calls.get(piece.index)
        calls[piece.index] = (
            piece
            if before is None
            else ToolPiece(piece.index, before.id, before.name, before.arguments + piece.arguments)
        )
    return tuple(calls.values())
