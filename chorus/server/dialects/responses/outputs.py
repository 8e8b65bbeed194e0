"""Messages, reasoning and images as output items, with their events (A3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chorus.server.dialects.responses.calls import ItemEvents
from chorus.server.dialects.responses.items import (
    image_item,
    item_id,
    message_item,
    reasoning_item,
    summary_part,
    text_part,
)
from chorus.wirejson import JSON


class MessageOutput:
    """A message item with its one text part."""

    is_whole = True

    def __init__(self, response_id: str, index: int, phase: str | None = None) -> None:
        """`phase` tells whether it is the answer or a comment on the work, where its model says
        so.
        """
        self.index = index
        self.phase = phase
        self._id = item_id("msg", response_id, index)
        self._text: list[str] = []
        self._annotations: list[JSON] = []
        self._logprobs: list[JSON] = []
        self._place = {"item_id": self._id, "output_index": index, "content_index": 0}

    def begin(self) -> ItemEvents:
        """Return the events before the text."""
        item = self._phased(message_item(self._id, None, "in_progress"))
        yield "response.output_item.added", {"output_index": self.index, "item": item}
        yield "response.content_part.added", {**self._place, "part": text_part("")}

    def grow(self, text: str, logprobs: Sequence[JSON] = ()) -> ItemEvents:
        """Return the event of a piece of the text."""
        self._text.append(text)
        self._logprobs += logprobs
        yield "response.output_text.delta", {**self._place, "delta": text, "logprobs": list(logprobs)}

    def annotate(self, annotations: Sequence[JSON]) -> ItemEvents:
        """Return the events of citations of the text."""
        for annotation in annotations:
            if annotation in self._annotations:  # some providers repeat them with each chunk
                continue
            number = len(self._annotations)
            self._annotations.append(annotation)
            fields = {**self._place, "annotation_index": number, "annotation": annotation}
            yield "response.output_text.annotation.added", fields

    def end(self, status: str) -> ItemEvents:
        """Return the events behind the text."""
        done = {**self._place, "text": "".join(self._text), "logprobs": list(self._logprobs)}
        yield "response.output_text.done", done
        yield "response.content_part.done", {**self._place, "part": self._part()}
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        """Return the item as far as it has come."""
        return self._phased(message_item(self._id, self._part(), status))

    def _phased(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "phase": self.phase} if self.phase is not None else item

    def _part(self) -> JSON:
        return text_part("".join(self._text), self._annotations, self._logprobs)


class ReasoningOutput:
    """A reasoning item with one summary part; without one where there is nothing to read in it."""

    is_whole = True

    def __init__(self, sealed: Callable[[str], str | None], response_id: str, index: int) -> None:
        """`sealed` makes `encrypted_content` of the whole reasoning.

        None where the client wants none.
        """
        self.index = index
        self._id = item_id("rs", response_id, index)
        self._text: list[str] = []
        self._said: list[str] = []
        """What of the text a model said."""
        self._sealed = sealed
        self._encrypted: str | None = None
        self._place = {"item_id": self._id, "output_index": index, "summary_index": 0}

    def begin(self) -> ItemEvents:
        """Return the event before the summary."""
        yield "response.output_item.added", {"output_index": self.index, "item": reasoning_item(self._id, None)}

    def grow(self, text: str, *, is_model: bool = True) -> ItemEvents:
        """Return the events of a piece of the reasoning.

        `is_model` is false of what Chorus says about its work.
        """
        if not self._text:
            yield "response.reasoning_summary_part.added", {**self._place, "part": summary_part("")}
        self._text.append(text)
        if is_model:
            self._said.append(text)
        yield "response.reasoning_summary_text.delta", {**self._place, "delta": text}

    def end(self, status: str) -> ItemEvents:
        """Return the events behind the reasoning."""
        text = "".join(self._text)
        self._encrypted = self._sealed("".join(self._said))
        if self._text:
            yield "response.reasoning_summary_text.done", {**self._place, "text": text}
            yield "response.reasoning_summary_part.done", {**self._place, "part": summary_part(text)}
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        """Return the item as far as it has come."""
        return reasoning_item(self._id, "".join(self._text) if self._text else None, self._encrypted)


class ImageOutput:
    """An image, which comes whole."""

    is_whole = True

    def __init__(self, base64: str, response_id: str, index: int) -> None:
        self.index = index
        self._item = image_item(item_id("ig", response_id, index), base64)

    def begin(self) -> ItemEvents:
        """Return the event before the image."""
        item = {**self._item, "status": "in_progress", "result": None}
        yield "response.output_item.added", {"output_index": self.index, "item": item}

    def end(self, status: str) -> ItemEvents:
        """Return the event with the image."""
        yield "response.output_item.done", {"output_index": self.index, "item": self._item}

    def item(self, status: str) -> dict[str, Any]:
        """Return the item."""
        return self._item


class UpstreamOutput:
    """An item of a tool that an upstream behind the Responses API has run itself, as it came."""

    is_whole = True

    def __init__(self, item: dict[str, Any], index: int) -> None:
        self.index = index
        self._item = item

    def begin(self) -> ItemEvents:
        """Return the event before the item."""
        begun = {**self._item, "status": "in_progress"} if "status" in self._item else self._item
        yield "response.output_item.added", {"output_index": self.index, "item": begun}

    def end(self, status: str) -> ItemEvents:
        """Return the event with the item."""
        yield "response.output_item.done", {"output_index": self.index, "item": self._item}

    def item(self, status: str) -> dict[str, Any]:
        """Return the item."""
        return self._item
