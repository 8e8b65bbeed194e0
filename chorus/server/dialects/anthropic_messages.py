"""`POST /v1/messages` (A4): Anthropic's dialect, as Ollama serves it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted
from chorus.server.dialects import anthropic_wire as wire
from chorus.server.dialects.base import Asked, Frame, Framing, Reply
from chorus.server.dialects.openai_wire import check_sampling, limit_of, stops
from chorus.server.dialects.reading import is_object, read
from chorus.server.errors import ErrorStyle, error_body
from chorus.types import Answer, ChatRequest, Sampling, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesBody(msgspec.Struct):
    """The request body. `max_tokens` is required by Anthropic; here it may be left out. `output_format` is what
    `output_config.format` was called in its beta."""

    model: str
    messages: list[wire.WireMessage]
    max_tokens: int | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[wire.Tool] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: wire.Thinking | None = None
    output_config: wire.OutputConfig | None = None
    output_format: wire.OutputFormat | None = None
    include_workflow: bool | None = None


class AnthropicMessages:
    """Anthropic messages."""

    path: ClassVar[str] = "/v1/messages"
    error_style: ClassVar[ErrorStyle] = "anthropic"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = None
    body: ClassVar[type[msgspec.Struct]] = MessagesBody
    summary: ClassVar[str] = "Anthropic messages"
    id_prefix: ClassVar[str] = "msg_"

    def parse(self, body: Mapping[str, JSON]) -> Asked:
        """See `Dialect.parse`."""
        asked = read(body, MessagesBody)
        if not asked.messages:
            raise InvalidRequest("Invalid value for 'messages': expected at least one message.", param="messages")
        max_tokens = limit_of(asked.max_tokens)
        check_sampling(asked.temperature, asked.top_p, max_tokens)
        choice = asked.tool_choice
        output = asked.output_config or wire.OutputConfig()
        thinks = True if asked.thinking is not None and asked.thinking.type != "disabled" else None
        request = ChatRequest(
            model=asked.model,
            messages=wire.messages(asked.system, asked.messages),
            sampling=Sampling(
                asked.temperature, asked.top_p, max_tokens, stops(asked.stop_sequences, "stop_sequences")
            ),
            tools=wire.tools(asked.tools or ()),
            tool_choice=wire.tool_choice(choice),
            parallel_tool_calls=False if choice is not None and choice.get("disable_parallel_tool_use") else None,
            response_format=wire.response_format(output.format or asked.output_format),
            reasoning_effort=output.effort or thinks,
        )
        return Asked(asked.model, (request,), bool(asked.stream), bool(asked.include_workflow))

    def encoder(self, reply: Reply) -> _MessagesEncoder:
        """See `Dialect.encoder`."""
        return _MessagesEncoder(reply)

    def whole(self, reply: Reply, events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        done = events[-1]
        assert isinstance(done, RunFinished)
        answer = done.answers[0]
        body = _message(reply, _blocks(answer), _usage_of(done), _STOP_REASONS[answer.finish_reason])
        if reply.workflow is not None:
            body["workflow"] = reply.workflow()
        return body


def _message(reply: Reply, content: Iterable[JSON], usage: JSON, stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.asked.model,
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage_of(done: RunFinished) -> dict[str, JSON]:
    """`usage` at the end; `ensemble` is the sum over all calls of a workflow."""
    ensemble = done.ensemble
    return {**_usage(done.reported), **({"ensemble": ensemble} if ensemble is not None else {})}


def _usage(usage: Usage) -> dict[str, int]:
    """Anthropic counts cached tokens beside the others, not among them."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.reasoning:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": ""}
    if answer.text or not answer.tool_calls:
        yield {"type": "text", "text": answer.text}
    for call in answer.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)}


def _input(arguments: str) -> JSON:
    try:
        value = wirejson.decode(arguments)
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}


class _MessagesEncoder:
    """Opens a content block where a kind of content begins, and closes it before the next. A call whose input is not
    whole yet stays open beside others: some upstreams write parallel calls in turns."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._begun = 0
        self._open: dict[str, int] = {}
        """The index of each open block, by its kind; calls are of a kind each."""
        self._inputs: dict[str, str] = {}
        """What each call that began has of its input."""

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            return self._delta(event) if event.choice is not None else ()
        if isinstance(event, RunStarted):
            told = Usage(wire.input_tokens(self._reply.asked.requests[0]))  # the true count comes with the end
            message = _message(self._reply, (), _usage(told), None)
            return (_frame("message_start", message=message),)
        if isinstance(event, RunFinished):
            return self._finished(event)
        if isinstance(event, RunFailed):
            return (Frame(error_body(event.error, self._reply.errors, self._reply.request_id), "error"),)
        return ()

    def _delta(self, event: Delta) -> Iterator[Frame]:
        if event.reasoning:
            yield from self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._piece("thinking", {"type": "thinking_delta", "thinking": event.reasoning})
        if event.text:
            yield from self._block("text", {"type": "text", "text": ""})
            yield self._piece("text", {"type": "text_delta", "text": event.text})
        for piece in event.tool_calls:
            yield from self._call(piece)

    def _call(self, piece: ToolPiece) -> Iterator[Frame]:
        kind = f"tool_use {piece.index}"
        if kind not in self._inputs:
            block = {"type": "tool_use", "id": piece.id or "", "name": piece.name or "", "input": {}}
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
                del self._open[kind]
                yield _frame("content_block_stop", index=index)

    def _finished(self, event: RunFinished) -> Iterator[Frame]:
        if not self._begun:  # an empty answer is a text block too
            yield from self._block("text", {"type": "text", "text": ""})
        yield from self._close()
        reason = _STOP_REASONS[event.answers[0].finish_reason]
        yield _frame("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=_usage_of(event))
        workflow = {"workflow": self._reply.workflow()} if self._reply.workflow is not None else {}
        yield _frame("message_stop", **workflow)


def _frame(kind: str, **fields: JSON) -> Frame:
    return Frame({"type": kind, **fields}, kind)
