"""The content blocks of an answer, as they come, in our words. Pure.

Thinking goes out as reasoning, and whole, with its signature, in `reasoning_details`. Blocks that
have no place in a message of ours go out in `anthropic_content`; with the first of them all blocks
do, so that the turn can be sent back as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chorus.anthropic_content import CITATION, CONTENT, Order, detail_of, has_place
from chorus.llm.base import MAX_CALLS, Chunk
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.reading.lenient import compact, string_of, value_of
from chorus.llm.reading.tool_calls import MAX_EXTRA_DEPTH, too_many_calls
from chorus.types import ToolPiece
from chorus.wirejson import JSON, is_deeper


class _Block:
    """A block that has begun."""

    def __init__(self, start: Mapping[str, JSON], call: int | None) -> None:
        self.fields: dict[str, Any] = {key: value for key, value in start.items() if value is not None}
        self.kind = string_of(start.get("type"))
        self.call = call
        """The index of the tool call that it is; None of other blocks."""
        self.pieces: list[str] = []
        """What of its text, thinking or input came in deltas."""


class Content:
    """The content of one answer of upstream `name`; `names` has the client's names of tools."""

    def __init__(self, name: str, names: OwnNames | None = None) -> None:
        self._name = name
        self._names = names
        self._open: dict[int, _Block] = {}
        self._done: list[dict[str, Any]] = []
        self._order = Order()
        self._is_native = False
        """Whether the blocks go out as they are, too."""
        self._thoughts = 0
        self.calls = 0

    def begin(self, index: int, start: Mapping[str, JSON]) -> Chunk | None:
        """Take the beginning of a block; return what it says already.

        Raises:
            UpstreamProtocol: there are more than `MAX_CALLS` calls.
        """
        is_call = start.get("type") == "tool_use"
        block = self._open[index] = _Block(start, self.calls if is_call else None)
        if is_call:
            if self.calls == MAX_CALLS:
                raise too_many_calls(self._name)
            id = string_of(start.get("id")) or f"call_{self.calls}"
            self.calls += 1
            tool = string_of(start.get("name"))
            if self._names is not None:
                tool = block.fields["name"] = self._names.of(tool)
            return Chunk(tool_calls=(ToolPiece(self.calls - 1, id, tool),))
        if block.kind == "text":
            cited = start.get("citations")
            extra = _annotations(cited) if isinstance(cited, list) else None
            return Chunk(string_of(start.get("text")), extra=extra)
        if block.kind == "thinking":
            return Chunk(reasoning=string_of(start.get("thinking")))
        return None

    def extend(self, index: int, delta: Mapping[str, JSON]) -> Chunk | None:
        """Take a piece of a block.

        Unknown ones are kept where the block is not ours, else dropped.
        """
        block = self._open.get(index)
        if block is None:
            return None
        kind = delta.get("type")
        if kind == "text_delta":
            text = string_of(delta.get("text"))
            block.pieces.append(text)
            return Chunk(text)
        if kind == "thinking_delta":
            thought = string_of(delta.get("thinking"))
            block.pieces.append(thought)
            return Chunk(reasoning=thought)
        if kind == "signature_delta":
            block.fields["signature"] = string_of(block.fields.get("signature")) + string_of(delta.get("signature"))
        elif kind == "input_json_delta":
            if piece := string_of(delta.get("partial_json")):
                block.pieces.append(piece)
                if block.call is not None:
                    return Chunk(tool_calls=(ToolPiece(block.call, arguments=piece),))
        elif kind == "citations_delta" and isinstance(delta.get("citation"), Mapping):
            block.fields["citations"] = [*(block.fields.get("citations") or ()), delta["citation"]]
            return Chunk(extra=_annotations([delta["citation"]]))
        elif not has_place(block.fields):
            block.fields |= {name: value for name, value in delta.items() if name != "type"}
        return None

    def add_text(self, index: int, text: str) -> bool:
        """Take a piece of text; False where no such block is open."""
        block = self._open.get(index)
        if block is None:
            return False
        block.pieces.append(text)
        return True

    def end(self, index: int) -> Chunk | None:
        """Take the end of a block; return what only its whole says."""
        block = self._open.pop(index, None)
        if block is None:
            return None
        self._complete(block)
        extra: dict[str, JSON] = {}
        if (detail := self._detail(block)) is not None:
            extra["reasoning_details"] = [detail]
        if native := self._native(block):
            extra[CONTENT] = native
        pieces: tuple[ToolPiece, ...] = ()
        if block.call is not None and not block.pieces:
            pieces = (ToolPiece(block.call, arguments=compact(block.fields.get("input") or {})),)
        return Chunk(tool_calls=pieces, extra=extra or None) if pieces or extra else None

    def end_all(self) -> Chunk | None:
        """End the one block that is still open at the end of a stream, if any: its end was lost."""
        return self.end(next(iter(self._open))) if self._open else None

    def _complete(self, block: _Block) -> None:
        """Write the pieces of a block into its fields."""
        text = "".join(block.pieces)
        if block.kind in ("text", "thinking"):
            block.fields[block.kind] = string_of(block.fields.get(block.kind)) + text
        elif text:
            try:
                block.fields["input"] = value_of(text.encode("utf-8", "surrogatepass"))
            except ValueError:
                block.fields["input"] = {"arguments": text}

    def _detail(self, block: _Block) -> dict[str, JSON] | None:
        detail = detail_of(block.fields, self._thoughts)
        self._thoughts += detail is not None
        return detail

    def _native(self, block: _Block) -> list[JSON]:
        """Return the blocks that go out as they are now that `block` is whole."""
        if is_deeper(block.fields, MAX_EXTRA_DEPTH):
            return []  # it could not be written again
        is_unusual = self._order.is_unusual(block.fields)
        self._done.append(block.fields)
        if self._is_native:
            return [block.fields]
        self._is_native = is_unusual
        return list(self._done) if is_unusual else []


def _annotations(citations: list[JSON]) -> dict[str, JSON] | None:
    """Return citations in the shape of chat completions, each with its own beside it."""
    annotations = [_annotation(citation) for citation in citations if isinstance(citation, Mapping)]
    return {"annotations": annotations} if annotations else None


def _annotation(citation: Mapping[str, JSON]) -> dict[str, JSON]:
    title, url = citation.get("title") or citation.get("document_title"), citation.get("url")
    if isinstance(url, str) and url:
        cited = {"url": url, "title": title, "content": citation.get("cited_text")}
        return {"type": "url_citation", "url_citation": {**cited, CITATION: dict(citation)}}
    return {
        "type": "file_citation",
        "filename": title,
        "index": citation.get("document_index"),
        CITATION: dict(citation),
    }
