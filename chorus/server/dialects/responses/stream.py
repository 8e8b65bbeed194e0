"""The event sequence of a streamed response, with OpenAI's names, order and numbering (A3)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.extras import Extras
from chorus.server.dialects.base import ResponseContext
from chorus.server.dialects.citations import annotations_of
from chorus.server.dialects.media_notes import notes
from chorus.server.dialects.opaque_reasoning import seal
from chorus.server.dialects.progress_encoder import ProgressEncoder
from chorus.server.dialects.responses.calls import CallOutput, call_output
from chorus.server.dialects.responses.extras import images_of, items_of, logprobs_of, provider_fields
from chorus.server.dialects.responses.fields import ResponsesOptions
from chorus.server.dialects.responses.history import CALLS_FIELD
from chorus.server.dialects.responses.items import response_body
from chorus.server.dialects.responses.outputs import (
    ImageOutput,
    MessageOutput,
    ReasoningOutput,
    UpstreamOutput,
)
from chorus.server.http.frames import Frame
from chorus.types import Extra, ToolPiece
from chorus.wirejson import JSON

_Item = MessageOutput | ReasoningOutput | ImageOutput | UpstreamOutput | CallOutput
_ItemT = TypeVar("_ItemT", MessageOutput, ReasoningOutput, ImageOutput, UpstreamOutput, CallOutput)


class ResponsesEncoder:
    """Opens an output item where a kind of content begins, and closes it before the next. A call
    whose arguments are not whole yet stays open beside others: some upstreams write parallel calls
    in turns."""

    def __init__(self, context: ResponseContext[ResponsesOptions], after: int | None = None) -> None:
        """`after` is the sequence number of the last event that the client has.

        None for a client that has none.
        """
        self._context = context
        self._after = -1 if after is None else after
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        """Every item that has begun; one that is still open stands as it will be."""
        self._over: RunFinished | RunFailed | None = None
        self._open: dict[int, _Item] = {}
        self._calls: dict[int, CallOutput] = {}
        self._options = context.parsed.options
        self._unsealed = Extras()
        """Provider fields that have come since reasoning was last sealed."""
        self._annotations: list[JSON] = []
        """Citations that came before any text."""
        self._message: MessageOutput | None = None
        """The last message, which may have ended."""
        self._phase: str | None = None
        """That of the next message."""

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        frames = self._frames_of(event)
        return frames if self._after < 0 else [f for f in frames if f.data["sequence_number"] > self._after]

    def response(self) -> dict[str, Any]:
        """Return the `Response` as far as it has come."""
        return response_body(self._context, self._output, self._over)

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
            yield from self._think(event.reasoning, is_model=not event.is_progress)
        if event.extra:
            yield from self._take(event.extra)
        if event.text:
            logprobs = logprobs_of(event.logprobs) if event.logprobs and self._options.has_logprobs else ()
            yield from self._text(event.text, logprobs)
        for piece in event.tool_calls:
            yield from self._call(piece)

    def _text(self, text: str, logprobs: Sequence[JSON] = ()) -> Iterator[Frame]:
        item = self._opened(MessageOutput)
        if item is None:
            item = self._message = yield from self._begin(partial(MessageOutput, self._context.id, phase=self._phase))
        yield from self._frames(item.grow(text, logprobs))
        if self._annotations:
            annotations, self._annotations = self._annotations, []
            yield from self._frames(item.annotate(annotations))

    def _think(self, text: str, *, is_model: bool = True) -> Iterator[Frame]:
        """Add to the open reasoning item, or open one.

        What no model said does not come back to one.
        """
        item = self._opened(ReasoningOutput)
        if item is None:
            item = yield from self._open_item(partial(ReasoningOutput, self._sealed, self._context.id))
        if text:
            yield from self._frames(item.grow(text, is_model=is_model))

    def _sealed(self, reasoning: str) -> str | None:
        """Return `encrypted_content` of a reasoning item: with the fields that came so far, also
        where the client did not ask for it, since they have no other place."""
        extra = self._unsealed.whole()
        if not extra and not self._options.seals_reasoning:
            return None
        self._unsealed = Extras()
        return seal(reasoning, extra) or seal(reasoning, {}) or None

    def _call(self, piece: ToolPiece) -> Iterator[Frame]:
        call = self._calls.get(piece.index)
        if piece.extra:
            call_id = call.call_id if call is not None else piece.id or ""
            self._unsealed.add({CALLS_FIELD: {call_id: dict(piece.extra)}})
        if call is None:
            tool = self._options.tools.tool_of(piece.name or "")
            call = yield from self._begin(partial(call_output, tool, piece.id or "", self._context.id))
            self._calls[piece.index] = call
        if piece.arguments and call.index in self._open:
            yield from self._frames(call.grow(piece.arguments))

    def _take(self, extra: Extra) -> Iterator[Frame]:
        """Put provider fields into their places."""
        self._unsealed.add(provider_fields(extra))
        if annotations := annotations_of(extra):
            item = self._opened(MessageOutput) or self._message
            if item is None:
                self._annotations += annotations
            else:
                yield from self._annotate(item, annotations)
        if isinstance(phase := extra.get("phase"), str):
            self._phase = phase
            if (open_message := self._opened(MessageOutput)) is not None:
                open_message.phase = phase
        for item_of_upstream in items_of(extra):
            yield from self._begin(partial(UpstreamOutput, item_of_upstream))
        for image in images_of(extra):
            yield from self._begin(partial(ImageOutput, image, self._context.id))

    def _annotate(self, item: MessageOutput, annotations: Sequence[JSON]) -> Iterator[Frame]:
        """Add citations to a message.

        Those that come when its text has ended stand in the response at its end.
        """
        yield from self._frames(item.annotate(annotations))
        if item.index not in self._open:
            self._output[item.index] = item.item("completed")

    def _opened(self, kind: type[_ItemT]) -> _ItemT | None:
        """Return the open item of this kind."""
        return next((item for item in self._open.values() if isinstance(item, kind)), None)

    def _begin(self, make: Callable[[int], _ItemT]) -> Generator[Frame, None, _ItemT]:
        """Begin an item of another kind than reasoning.

        Provider fields that came before it are sealed before it.
        """
        if self._unsealed.whole():
            yield from self._think("")
        return (yield from self._open_item(make))

    def _open_item(self, make: Callable[[int], _ItemT]) -> Generator[Frame, None, _ItemT]:
        """Close what is whole, and open the item that `make` makes at its index."""
        yield from self._close(whole_only=True)
        item = make(len(self._output))
        self._open[item.index] = item
        self._output.append(item.item("in_progress"))
        yield from self._frames(item.begin())
        return item

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
        if note := notes(answer.extra, inline_images=False):
            yield from self._text(f"\n\n{note}" if self._opened(MessageOutput) is not None else note)
        whole = answer.finish_reason not in ("length", "content_filter")
        yield from self._close("completed" if whole else "incomplete")
        # an empty answer is a message too
        if not any(item["type"] != "reasoning" for item in self._output):
            yield from self._begin(partial(MessageOutput, self._context.id))
            yield from self._close()
        if self._unsealed.whole():  # fields that came last
            yield from self._think("")
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


def response_of(context: ResponseContext[ResponsesOptions], events: Iterable[Event]) -> dict[str, Any]:
    """Return the `Response` that `events` tell of: in progress, or as it ended.

    What a stream of them would have said, so that the two cannot disagree.
    """
    encoder = ResponsesEncoder(context)
    reader = ProgressEncoder(encoder) if context.parsed.progress else encoder
    for event in events:
        for _ in reader.encode(event):
            pass
    return encoder.response()
