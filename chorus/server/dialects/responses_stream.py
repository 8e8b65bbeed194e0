"""The event sequence of a streamed response, with OpenAI's names, order and numbering (A3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.server.dialects.base import Frame, Reply
from chorus.server.dialects.narrated import Narrated
from chorus.server.dialects.reading import is_object
from chorus.server.dialects.responses_items import (
    call_item,
    item_id,
    message_item,
    reasoning_item,
    response_body,
    summary_part,
    text_part,
)
from chorus.types import ToolPiece
from chorus.wirejson import JSON


class ResponsesEncoder:
    """Opens an output item where a kind of content begins, and closes it before the next. A call whose arguments are not
    whole yet stays open beside others: some upstreams write parallel calls in turns."""

    def __init__(self, reply: Reply, after: int | None = None) -> None:
        """`after` is the sequence number of the last event that the client has; None for a client that has none."""
        self._reply = reply
        self._after = -1 if after is None else after
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        """Every item that has begun; one that is still open stands as it will be."""
        self._over: RunFinished | RunFailed | None = None
        self._open: dict[int, _Item] = {}
        self._calls: dict[int, _Call] = {}

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        frames = self._frames_of(event)
        return frames if self._after < 0 else [f for f in frames if f.data["sequence_number"] > self._after]

    def response(self) -> dict[str, Any]:
        """The `Response` as far as it has come."""
        return response_body(self._reply, self._output, self._over)

    def _frames_of(self, event: Event) -> Iterable[Frame]:
        if isinstance(event, Delta):
            return self._delta(event) if event.choice is not None else ()
        if isinstance(event, RunStarted):
            body = self.response()
            return (
                self._frame("response.created", response=body),
                self._frame("response.in_progress", response=body),
            )
        if isinstance(event, RunFinished):
            return self._finished(event)
        if isinstance(event, RunFailed):
            return self._failed(event)
        return ()

    def _frame(self, kind: str, **fields: JSON) -> Frame:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return Frame(data, kind)

    def _delta(self, event: Delta) -> Iterator[Frame]:
        if event.reasoning:
            yield from self._grow(_Reasoning, event.reasoning)
        if event.text:
            yield from self._grow(_Message, event.text)
        for piece in event.tool_calls:
            yield from self._call(piece)

    def _grow(self, kind: type[_Message | _Reasoning], text: str) -> Iterator[Frame]:
        item = next((item for item in self._open.values() if isinstance(item, kind)), None)
        if item is None:
            item = kind(self._reply.id, len(self._output))
            yield from self._begin(item)
        yield from self._frames(item.grow(text))

    def _call(self, piece: ToolPiece) -> Iterator[Frame]:
        call = self._calls.get(piece.index)
        if call is None:
            call = self._calls[piece.index] = _Call(self._reply.id, len(self._output), piece)
            yield from self._begin(call)
        if piece.arguments and call.index in self._open:
            yield from self._frames(call.grow(piece.arguments))

    def _begin(self, item: _Item) -> Iterator[Frame]:
        yield from self._close(whole_only=True)
        self._open[item.index] = item
        self._output.append(item.item("in_progress"))
        yield from self._frames(item.begin())

    def _frames(self, events: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Frame]:
        for kind, fields in events:
            yield self._frame(kind, **fields)

    def _close(self, status: str = "completed", *, whole_only: bool = False) -> Iterator[Frame]:
        for index, item in list(self._open.items()):
            if not whole_only or item.is_whole:
                del self._open[index]
                yield from self._frames(item.end(status))
                self._output[index] = item.item(status)

    def _finished(self, event: RunFinished) -> Iterator[Frame]:
        answer = event.answers[0]
        whole = answer.finish_reason not in ("length", "content_filter")
        yield from self._close("completed" if whole else "incomplete")
        if not any(item["type"] != "reasoning" for item in self._output):  # an empty answer is a message too
            yield from self._begin(_Message(self._reply.id, len(self._output)))
            yield from self._close()
        yield self._end("response.completed" if whole else "response.incomplete", event)

    def _failed(self, event: RunFailed) -> Iterator[Frame]:
        yield from self._close("incomplete")
        yield self._end("response.failed", event)

    def _end(self, kind: str, event: RunFinished | RunFailed) -> Frame:
        self._over = event
        body = self.response()
        workflow = {"workflow": body["workflow"]} if "workflow" in body else {}
        return self._frame(kind, response=body, **workflow)


def response_of(reply: Reply, events: Iterable[Event]) -> dict[str, Any]:
    """The `Response` that `events` tell of: in progress, or as it ended. What a stream of them would have said, so that
    the two cannot disagree."""
    encoder = ResponsesEncoder(reply)
    told = Narrated(encoder) if reply.asked.progress else encoder
    for event in events:
        for _ in told.encode(event):
            pass
    return encoder.response()


class _Message:
    """A message item with its one text part."""

    is_whole = True

    def __init__(self, response_id: str, index: int) -> None:
        self._id = item_id("msg", response_id, index)
        self.index = index
        self._text: list[str] = []
        self._place = {"item_id": self._id, "output_index": index, "content_index": 0}

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        item = message_item(self._id, None, "in_progress")
        yield "response.output_item.added", {"output_index": self.index, "item": item}
        yield "response.content_part.added", {**self._place, "part": text_part("")}

    def grow(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._text.append(text)
        yield "response.output_text.delta", {**self._place, "delta": text, "logprobs": []}

    def end(self, status: str) -> Iterator[tuple[str, dict[str, Any]]]:
        text = "".join(self._text)
        yield "response.output_text.done", {**self._place, "text": text, "logprobs": []}
        yield "response.content_part.done", {**self._place, "part": text_part(text)}
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        return message_item(self._id, "".join(self._text), status)


class _Reasoning:
    """A reasoning item with its one summary part."""

    is_whole = True

    def __init__(self, response_id: str, index: int) -> None:
        self._id = item_id("rs", response_id, index)
        self.index = index
        self._text: list[str] = []
        self._place = {"item_id": self._id, "output_index": index, "summary_index": 0}

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "response.output_item.added", {"output_index": self.index, "item": reasoning_item(self._id, None)}
        yield "response.reasoning_summary_part.added", {**self._place, "part": summary_part("")}

    def grow(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._text.append(text)
        yield "response.reasoning_summary_text.delta", {**self._place, "delta": text}

    def end(self, status: str) -> Iterator[tuple[str, dict[str, Any]]]:
        text = "".join(self._text)
        yield "response.reasoning_summary_text.done", {**self._place, "text": text}
        yield "response.reasoning_summary_part.done", {**self._place, "part": summary_part(text)}
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        return reasoning_item(self._id, "".join(self._text))


class _Call:
    """A function call item."""

    def __init__(self, response_id: str, index: int, first: ToolPiece) -> None:
        self._id = item_id("fc", response_id, index)
        self.index = index
        self._call_id = first.id or ""
        self._name = first.name or ""
        self._arguments: list[str] = []
        self._place = {"item_id": self._id, "output_index": index}

    @property
    def is_whole(self) -> bool:
        """Whether nothing can follow: the arguments are an object already."""
        return is_object("".join(self._arguments))

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        item = call_item(self._id, self._call_id, self._name, "", "in_progress")
        yield "response.output_item.added", {"output_index": self.index, "item": item}

    def grow(self, arguments: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._arguments.append(arguments)
        yield "response.function_call_arguments.delta", {**self._place, "delta": arguments}

    def end(self, status: str) -> Iterator[tuple[str, dict[str, Any]]]:
        done = {**self._place, "name": self._name, "arguments": "".join(self._arguments)}
        yield "response.function_call_arguments.done", done
        yield "response.output_item.done", {"output_index": self.index, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        return call_item(self._id, self._call_id, self._name, "".join(self._arguments), status)


_Item = _Message | _Reasoning | _Call
