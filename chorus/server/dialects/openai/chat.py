"""`POST /v1/chat/completions` (A2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from chorus import encoded_messages, wirejson
from chorus.encoded_messages import EncodedMessages
from chorus.errors import InvalidRequest
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.openai.calls import RestoredCalls
from chorus.server.dialects.openai.messages import messages
from chorus.server.dialects.openai.tools import Toolbox, call_body, toolbox
from chorus.server.dialects.openai.wire import Generating, choice_count, seeded, usage_body
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.errors import ErrorStyle, error_object
from chorus.server.http.frames import Encoder, Frame
from chorus.server.http.reading import read, taken_out, unknown_fields
from chorus.types import Answer, ChatRequest, Framing, ToolPiece
from chorus.wirejson import JSON, EncodedArray, FieldReader


class ChatBody(Generating, kw_only=True):
    """The request body."""

    messages: list[Annotated[Any, msgspec.Meta(extra_json_schema={"type": "object"})]]
    """Objects, which `messages()` checks: checked here, too, each would be copied."""
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatOptions(msgspec.Struct, frozen=True):
    """What the answer depends on. `include_usage`: usage comes with the last chunk of a stream."""

    include_usage: bool
    toolbox: Toolbox


class OpenAIChat:
    """OpenAI chat completions."""

    path: ClassVar[str] = "/v1/chat/completions"
    error_style: ClassVar[ErrorStyle] = "openai"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = b"[DONE]"
    body: ClassVar[type[msgspec.Struct]] = ChatBody
    readers: ClassVar[Mapping[str, FieldReader]] = {
        "messages": encoded_messages.read,
        "tools": wirejson.encoded_array,
    }
    summary: ClassVar[str] = "OpenAI chat completions"
    id_prefix: ClassVar[str] = "chatcmpl-"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[ChatOptions]:
        """See `Dialect.parse`."""
        body, encoded = taken_out(body, "tools", EncodedArray)
        body, given = taken_out(body, "messages", EncodedMessages)
        fields = read(body, ChatBody)
        if not (given or fields.messages):
            raise InvalidRequest("Invalid value for 'messages': expected at least one message.", param="messages")
        if fields.max_completion_tokens is None:
            sampling = fields.sampling(fields.max_tokens)
        else:
            sampling = fields.sampling(fields.max_completion_tokens, "max_completion_tokens")
        warnings = Warnings()
        offered = toolbox(encoded or fields.tools, warnings, fields.tool_choice, fields.functions, fields.function_call)
        request = ChatRequest(
            model=fields.model,
            messages=given or messages(fields.messages),
            sampling=sampling,
            tools=offered.tools,
            tool_choice=offered.choice,
            parallel_tool_calls=fields.parallel_tool_calls,
            response_format=fields.response_format,
            reasoning_effort=fields.reasoning_effort,
            logprobs=bool(fields.logprobs),
            top_logprobs=fields.top_logprobs,
            extra=unknown_fields(body, ChatBody),
        )
        count = choice_count(fields.n)
        requests = (
            (request,)
            if count == 1
            else tuple(msgspec.structs.replace(request, sampling=seeded(sampling, choice)) for choice in range(count))
        )
        return ParsedRequest(
            fields.model,
            requests,
            ChatOptions(fields.wants_usage, offered),
            bool(fields.stream),
            bool(fields.include_workflow),
            warnings=warnings.sentences,
        )

    def encoder(self, context: ResponseContext[ChatOptions]) -> Encoder:
        """See `Dialect.encoder`."""
        toolbox = context.parsed.options.toolbox
        encoder = _ChatEncoder(context)
        return RestoredCalls(encoder, toolbox) if toolbox.customs or toolbox.is_old else encoder

    def whole(self, context: ResponseContext[ChatOptions], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        done = events[-1]
        assert isinstance(done, RunFinished)
        options = context.parsed.options
        body: dict[str, Any] = {
            "id": context.id,
            "object": "chat.completion",
            "created": int(context.created),
            "model": context.parsed.model,
            "choices": [
                {
                    "index": index,
                    "message": _message_body(answer, options.toolbox),
                    "logprobs": answer.logprobs,
                    "finish_reason": _finish(answer, options.toolbox),
                }
                for index, answer in enumerate(done.answers)
            ],
            "usage": usage_body(done),
        }
        if context.workflow is not None:
            body["workflow"] = context.workflow()
        return body


def _message_body(answer: Answer, toolbox: Toolbox) -> dict[str, Any]:
    refusal = answer.extra.get("refusal")
    body: dict[str, Any] = {**answer.extra, "role": "assistant", "content": answer.text, "refusal": refusal}
    if answer.reasoning:
        body["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        body["content"] = answer.text or None
        if toolbox.is_old:
            first = answer.tool_calls[0]
            body["function_call"] = {"name": first.name, "arguments": first.arguments or "{}"}
        else:
            body["tool_calls"] = [call_body(call, toolbox.customs) for call in answer.tool_calls]
    return body


def _finish(answer: Answer, toolbox: Toolbox) -> str:
    """Return the finish reason in the words of a client that sends `functions`, else ours."""
    return "function_call" if toolbox.is_old and answer.finish_reason == "tool_calls" else answer.finish_reason


def _piece_body(piece: ToolPiece) -> dict[str, Any]:
    """Return a piece of a tool call.

    Id, type and name stand in the first only: naive readers join what is repeated.
    """
    extra = piece.extra or {}
    if piece.id is None:
        return {**extra, "index": piece.index, "function": {"arguments": piece.arguments}}
    function = {"name": piece.name or "", "arguments": piece.arguments}
    return {**extra, "index": piece.index, "id": piece.id, "type": "function", "function": function}


class _ChatEncoder:
    """Chunks with one id, one finish reason per choice, and usage last where it was asked for."""

    def __init__(self, context: ResponseContext[ChatOptions]) -> None:
        self._context = context
        self._include_usage = context.parsed.options.include_usage
        self._head = {
            "id": context.id,
            "object": "chat.completion.chunk",
            "created": int(context.created),
            "model": context.parsed.model,
        }
        self._before: dict[int, bytes] = {}
        self._after = b'},"logprobs":null,"finish_reason":null}]' + b',"usage":null' * self._include_usage + b"}"

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if type(event) is Delta:
            choice = event.choice
            if choice is None:
                return ()
            before = self._before.get(choice)
            is_text = not (event.reasoning or event.tool_calls) and event.logprobs is None and event.extra is None
            if before is None or not is_text:
                return (self._delta(event, choice),)
            return (Frame(before + wirejson.encode(event.text) + self._after),)
        if isinstance(event, RunFinished):
            return self._finished(event)
        if isinstance(event, RunFailed):
            return (Frame({"error": error_object(event.error, self._context.request_id)}),)
        return ()

    def _delta(self, event: Delta, choice: int) -> Frame:
        delta: dict[str, Any] = {**event.extra} if event.extra is not None else {}
        if choice not in self._before:
            self._before[choice] = self._plain(choice)
            delta["role"] = "assistant"
            delta["content"] = event.text
        elif event.text:
            delta["content"] = event.text
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = [_piece_body(piece) for piece in event.tool_calls]
        return self._chunk(choice, delta, None, event.logprobs)

    def _plain(self, choice: int) -> bytes:
        """Return the text before the content of a chunk that holds nothing else, made once.

        Most chunks of a stream are of that kind.
        """
        place = f',"choices":[{{"index":{choice},"delta":{{"content":'
        return wirejson.encode(self._head)[:-1] + place.encode()

    def _chunk(self, choice: int, delta: JSON, finish: str | None, logprobs: JSON = None, **more: JSON) -> Frame:
        choices = [{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]
        data = {**self._head, "choices": choices, **more}
        if self._include_usage:
            data["usage"] = None
        return Frame(data)

    def _finished(self, event: RunFinished) -> Iterator[Frame]:
        workflow = {"workflow": self._context.workflow()} if self._context.workflow is not None else {}
        last = len(event.answers) - 1
        for choice, answer in enumerate(event.answers):
            if choice not in self._before:
                yield self._chunk(choice, {"role": "assistant", "content": ""}, None)
            more = workflow if choice == last and not self._include_usage else {}
            yield self._chunk(choice, {}, answer.finish_reason, **more)
        if self._include_usage:
            yield Frame({**self._head, "choices": [], "usage": usage_body(event), **workflow})
