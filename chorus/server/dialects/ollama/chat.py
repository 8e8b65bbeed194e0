"""`POST /api/chat` (A1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chorus import encoded_messages, wirejson
from chorus.encoded_messages import EncodedMessages
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.media_notes import appended, links
from chorus.server.dialects.ollama import wire
from chorus.server.dialects.ollama.messages import messages
from chorus.server.dialects.openai.tools import toolbox
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.errors import ErrorStyle, error_body
from chorus.server.http.frames import Frame
from chorus.server.http.reading import read, taken_out
from chorus.types import Answer, ChatRequest, Framing, ToolCall
from chorus.wirejson import JSON, EncodedArray, FieldReader


class ChatBody(wire.GeneratingBody):
    """The request body."""

    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None


class OllamaChat:
    """Ollama's chat."""

    path: ClassVar[str] = "/api/chat"
    error_style: ClassVar[ErrorStyle] = "ollama"
    framing: ClassVar[Framing] = "ndjson"
    done: ClassVar[bytes | None] = b"[DONE]"
    body: ClassVar[type[msgspec.Struct]] = ChatBody
    readers: ClassVar[Mapping[str, FieldReader]] = {
        "messages": encoded_messages.read,
        "tools": wirejson.encoded_array,
    }
    summary: ClassVar[str] = "Ollama chat"
    id_prefix: ClassVar[str] = "chat_"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[wire.KeepAlive]:
        """See `Dialect.parse`. Without messages it only asks for the model to be loaded."""
        body, encoded = taken_out(body, "tools", EncodedArray)
        body, given = taken_out(body, "messages", EncodedMessages)
        fields = read(body, ChatBody)
        if not (given or fields.messages):
            return ParsedRequest(fields.model, (), fields.keep_alive)
        sampling, rest = wire.sampling(fields.options)
        warnings = Warnings()
        request = ChatRequest(
            model=fields.model,
            messages=given or messages(fields.messages or (), warnings),
            sampling=sampling,
            tools=toolbox(encoded or fields.tools, warnings).tools,
            response_format=wire.response_format(fields.format),
            reasoning_effort=fields.think,
            keep_alive=fields.keep_alive,
            ollama_options=rest,
            extra=wire.other_fields(body, ChatBody, warnings),
        )
        return wire.parsed(fields, request, warnings)

    def encoder(self, context: ResponseContext[wire.KeepAlive]) -> _ChatEncoder:
        """See `Dialect.encoder`."""
        return _ChatEncoder(context)

    def whole(self, context: ResponseContext[wire.KeepAlive], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        if not context.parsed.requests:
            return wire.loaded(context, message={"role": "assistant", "content": ""})
        done = events[-1]
        assert isinstance(done, RunFinished)
        return wire.last(context, done, {"message": _message_body(done.answers[0])})


def _message_body(answer: Answer) -> dict[str, Any]:
    text = "\n\n".join(filter(None, (answer.text, links(answer.extra))))
    body: dict[str, Any] = {"role": "assistant", "content": text, **wire.message_extra(answer.extra)}
    if answer.reasoning:
        body["thinking"] = answer.reasoning
    if answer.tool_calls:
        body["tool_calls"] = [_call_body(call) for call in answer.tool_calls]
    return body


def _call_body(call: ToolCall) -> dict[str, Any]:
    """Return a call with its arguments as an object, as Ollama's clients read them."""
    try:
        arguments = wirejson.decode(call.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {"arguments": call.arguments}
    return {**call.extra, "id": call.id, "function": {"name": call.name, "arguments": arguments}}


class _ChatEncoder:
    """Lines of text and thinking as they come; tool calls whole, in one line before the last."""

    def __init__(self, context: ResponseContext[wire.KeepAlive]) -> None:
        self._context = context

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            if event.choice is None:
                return ()
            return self._said(event)
        if isinstance(event, RunFinished):
            answer = event.answers[0]
            calls = answer.tool_calls
            lines = [self._line({"role": "assistant", "content": "", "tool_calls": [_call_body(c) for c in calls]})]
            note = appended(answer.text, links(answer.extra))
            last = wire.last(self._context, event, {"message": {"role": "assistant", "content": note}})
            return (*(lines if calls else ()), Frame(last))
        if isinstance(event, RunFailed):
            return (Frame(error_body(event.error, self._context.errors, self._context.request_id)),)
        return ()

    def _said(self, event: Delta) -> Iterable[Frame]:
        extra = wire.message_extra(event.extra) if event.extra is not None else None
        if not event.text and not event.reasoning and not extra:
            return ()
        message: dict[str, Any] = {"role": "assistant", "content": event.text}
        if event.reasoning:
            message["thinking"] = event.reasoning
        if extra:
            message.update(extra)
        return (self._line(message),)

    def _line(self, message: JSON) -> Frame:
        return Frame(wire.line(self._context, message=message))
