"""Anthropic's stream: named events around blocks of content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chorus import anthropic_content, wirejson
from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.extras import Extras
from chorus.server.dialects import media_notes
from chorus.server.dialects.anthropic import answer as answers
from chorus.server.dialects.anthropic.wire import CALLS, input_tokens
from chorus.server.dialects.base import ResponseContext
from chorus.server.dialects.opaque_reasoning import seal
from chorus.server.http.errors import error_body
from chorus.server.http.frames import Frame
from chorus.server.http.reading import is_object
from chorus.types import Extra, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON


class MessagesEncoder:
    """Opens a content block where a kind of content begins, and closes it before the next.

    A call whose input is not whole yet stays open beside others: some upstreams write parallel
    calls in turns.
    """

    def __init__(self, context: ResponseContext[None]) -> None:
        self._context = context
        self._begun = 0
        self._open: dict[str, int] = {}
        """The index of each open block, by its kind; calls are of a kind each."""
        self._inputs: dict[str, str] = {}
        """What each call that began has of its input."""
        self._ids: dict[int, str] = {}
        self._thoughts: list[str] = []
        """What of the open thinking block a model said."""
        self._has_notes = False
        """Whether it also holds what Chorus said about its work."""
        self._needed = Extras()
        """Fields that the provider may need back and that have not gone out yet."""
        self._citations: list[dict[str, JSON]] = []
        """Those that wait for the end of the text."""
        self._cited: set[JSON] = set()
        """The addresses of all citations: some providers repeat them with each chunk."""

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            return self._delta(event) if event.choice is not None else ()
        if isinstance(event, RunStarted):
            # the true count comes with the end
            estimate = Usage(input_tokens(self._context.parsed.requests[0]))
            message = answers.message_body(self._context, (), answers.usage_body(estimate))
            return (_frame("message_start", message=message),)
        if isinstance(event, RunFinished):
            return self._finished(event)
        if isinstance(event, RunFailed):
            return (Frame(error_body(event.error, self._context.errors, self._context.request_id), "error"),)
        return ()

    def _delta(self, event: Delta) -> Iterator[Frame]:
        if event.extra is not None:
            self._keep(event.extra)
            yield from self._own_blocks(event.extra)
        if event.reasoning:
            yield from self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            if event.is_progress:
                self._has_notes = True
            else:
                self._thoughts.append(event.reasoning)
            yield self._piece("thinking", {"type": "thinking_delta", "thinking": event.reasoning})
        if event.text:
            yield from self._block("text", {"type": "text", "text": ""})
            yield self._piece("text", {"type": "text_delta", "text": event.text})
        for piece in event.tool_calls:
            yield from self._call(piece)

    def _keep(self, extra: Extra) -> None:
        if needed := answers.provider_fields(extra):
            self._needed.add(needed)
        for citation in answers.citations(extra):
            if (key := _key_of(citation)) not in self._cited:
                self._cited.add(key)
                self._citations.append(citation)

    def _own_blocks(self, extra: Extra) -> Iterator[Frame]:
        """Return the blocks that came from Anthropic and go out as they came: thinking with its own
        signature, and what tools did there.
        """
        for block in anthropic_content.thinking_of(extra):
            yield from self._own_thinking(block)
        for block in anthropic_content.blocks_of(extra):
            if not anthropic_content.has_place(block):
                yield from self._close(whole_only=True)
                yield from self._whole_block(block)
            elif block["type"] == "text" and "text" in self._open:
                yield from self._close(whole_only=True)  # its citations are those so far

    def _own_thinking(self, block: dict[str, Any]) -> Iterator[Frame]:
        """Return a block of thinking, where it is what has to come back and the client has read
        just its words.
        """
        if self._needed.whole().keys() != {"reasoning_details"} or self._has_notes:
            return
        if block["type"] == "thinking" and block["thinking"]:
            if "thinking" not in self._open or "".join(self._thoughts) != block["thinking"]:
                return
            self._taken()
            yield from self._end_thinking(block["signature"])
        elif "thinking" not in self._open:
            self._taken()
            yield from self._close(whole_only=True)
            yield from self._whole_block(block)

    def _end_thinking(self, signature: str) -> Iterator[Frame]:
        """Close the open block of thinking."""
        self._thoughts.clear()
        self._has_notes = False
        yield self._piece("thinking", {"type": "signature_delta", "signature": signature})
        yield _frame("content_block_stop", index=self._open.pop("thinking"))

    def _whole_block(self, block: dict[str, Any]) -> Iterator[Frame]:
        """Return a block that is whole already, in the pieces in which clients expect it."""
        index, self._begun = self._begun, self._begun + 1
        pieces: list[dict[str, JSON]] = []
        if block["type"] == "server_tool_use":
            pieces = [{"type": "input_json_delta", "partial_json": wirejson.encode(block.get("input") or {}).decode()}]
            block = {**block, "input": {}}
        elif block["type"] == "thinking":
            pieces = [{"type": "signature_delta", "signature": block["signature"]}]
            block = {**block, "signature": ""}
        yield _frame("content_block_start", index=index, content_block=block)
        for piece in pieces:
            yield _frame("content_block_delta", index=index, delta=piece)
        yield _frame("content_block_stop", index=index)

    def _call(self, piece: ToolPiece) -> Iterator[Frame]:
        kind = f"tool_use {piece.index}"
        is_first = kind not in self._inputs
        if is_first:
            self._ids[piece.index] = piece.id or ""
        if piece.extra is not None:
            self._needed.add({CALLS: {self._ids[piece.index]: dict(piece.extra)}})
        if is_first:
            block = {"type": "tool_use", "id": piece.id or "", "name": piece.name or "", "input": {}}
            yield from self._close(whole_only=True)
            yield from self._redacted()
            yield from self._block(kind, block)
            self._inputs[kind] = ""
        if piece.arguments and kind in self._open:
            self._inputs[kind] += piece.arguments
            yield self._piece(kind, {"type": "input_json_delta", "partial_json": piece.arguments})

    def _block(self, kind: str, block: JSON) -> Iterator[Frame]:
        """Open `block` unless it is open already."""
        if kind in self._open:
            return
        yield from self._close(whole_only=True)
        self._open[kind] = self._begun
        self._begun += 1
        yield _frame("content_block_start", index=self._open[kind], content_block=block)

    def _piece(self, kind: str, delta: JSON) -> Frame:
        return _frame("content_block_delta", index=self._open[kind], delta=delta)

    def _close(self, *, whole_only: bool = False) -> Iterator[Frame]:
        for kind, index in list(self._open.items()):
            if not whole_only or kind not in self._inputs or is_object(self._inputs[kind]):
                if kind == "thinking":
                    yield from self._end_thinking(seal("".join(self._thoughts), self._taken()))
                    continue
                if kind == "text":
                    for citation in self._citations:
                        yield self._piece(kind, {"type": "citations_delta", "citation": citation})
                    self._citations.clear()
                del self._open[kind]
                yield _frame("content_block_stop", index=index)

    def _redacted(self) -> Iterator[Frame]:
        """Return a block with the fields that no thinking block has taken."""
        needed = self._taken()
        block = answers.redacted(needed) if needed else None
        if block is not None:
            yield from self._block("redacted_thinking", block)
            yield _frame("content_block_stop", index=self._open.pop("redacted_thinking"))

    def _taken(self) -> dict[str, Any]:
        """Return the fields that have not gone out; they are about to."""
        needed, self._needed = self._needed.whole(), Extras()
        return needed

    def _sources(self) -> str:
        """Return the citations that came when the text had ended."""
        return answers.sources(self._citations) if "text" not in self._open else ""

    def _finished(self, event: RunFinished) -> Iterator[Frame]:
        notes = (media_notes.notes(event.answers[0].extra), self._sources())
        late = "\n\n".join(filter(None, notes))
        if not self._begun and not late:  # an empty answer is a text block too
            yield from self._block("text", {"type": "text", "text": ""})
        yield from self._close()
        yield from self._redacted()
        if late:
            yield from self._block("text", {"type": "text", "text": ""})
            yield self._piece("text", {"type": "text_delta", "text": late})
            yield from self._close()
        yield _frame("message_delta", delta=answers.stop_of(event.answers[0]), usage=answers.usage_of(event))
        workflow = {"workflow": self._context.workflow()} if self._context.workflow is not None else {}
        yield _frame("message_stop", **workflow)


def _key_of(citation: Mapping[str, JSON]) -> tuple[JSON, ...]:
    """Return what tells a citation from others."""
    places = ("url", "document_index", "start_char_index", "start_page_number", "start_block_index", "encrypted_index")
    return tuple(citation.get(name) for name in ("cited_text", *places))


def _frame(kind: str, **fields: JSON) -> Frame:
    return Frame({"type": kind, **fields}, kind)
