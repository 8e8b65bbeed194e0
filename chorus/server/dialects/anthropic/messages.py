"""`POST /v1/messages` (A4): Anthropic's dialect, as Ollama serves it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import Event, RunFinished
from chorus.server.dialects.anthropic import wire
from chorus.server.dialects.anthropic.answer import blocks, message_body, stop_of, usage_of
from chorus.server.dialects.anthropic.own_blocks import options_of
from chorus.server.dialects.anthropic.stream import MessagesEncoder
from chorus.server.dialects.anthropic.tools import tool_choice, tools
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.openai.wire import checked, stops
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.errors import ErrorStyle
from chorus.server.http.reading import read, unknown_fields
from chorus.types import ChatRequest, Framing, Sampling
from chorus.wirejson import JSON, FieldReader

_LEFT_OUT: Final = {
    "betas": "it names features of Anthropic's servers",
    "cache_control": "only that of blocks and tools is passed on",
    "container": "there are no containers here",
    "context_management": "nothing of the conversation is cleared",
    "fallbacks": "configure them here",
    "inference_geo": "the configuration says where models run",
    "mcp_servers": "MCP servers are not called here",
    "speed": "there is one speed",
}
"""Fields of Anthropic's API that only its own upstreams get, and why."""


class MessagesBody(msgspec.Struct):
    """The request body.

    `max_tokens` is required by Anthropic; here it may be left out. `output_format` is what
    `output_config.format` was called in its beta.
    """

    model: str
    messages: list[wire.WireMessage]
    max_tokens: int | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    top_k: int | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: wire.Thinking | None = None
    output_config: wire.OutputConfig | None = None
    output_format: wire.OutputFormat | None = None
    include_workflow: bool | None = None
    memory: bool | None = None


class AnthropicMessages:
    """Anthropic messages."""

    path: ClassVar[str] = "/v1/messages"
    error_style: ClassVar[ErrorStyle] = "anthropic"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = None
    body: ClassVar[type[msgspec.Struct]] = MessagesBody
    readers: ClassVar[Mapping[str, FieldReader]] = {}
    summary: ClassVar[str] = "Anthropic messages"
    id_prefix: ClassVar[str] = "msg_"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[None]:
        """See `Dialect.parse`."""
        fields = read(body, MessagesBody)
        if not fields.messages:
            raise InvalidRequest("Invalid value for 'messages': expected at least one message.", param="messages")
        stop = stops(fields.stop_sequences, "stop_sequences")
        sampling = checked(Sampling(fields.temperature, fields.top_p, fields.max_tokens, stop))
        choice = fields.tool_choice
        output = fields.output_config or wire.OutputConfig()
        warnings = Warnings()
        offered = tools(fields.tools or (), warnings)
        request = ChatRequest(
            model=fields.model,
            messages=wire.messages(fields.system, fields.messages, warnings),
            sampling=sampling,
            tools=offered,
            tool_choice=tool_choice(choice, offered, warnings),
            parallel_tool_calls=False if choice is not None and choice.get("disable_parallel_tool_use") else None,
            response_format=wire.response_format(output.format or fields.output_format),
            reasoning_effort=wire.effort(fields.thinking, output.effort),
            ollama_options={"top_k": fields.top_k} if fields.top_k is not None else {},
            anthropic_options=options_of(body),
            extra=_extra(fields, body, warnings),
        )
        return ParsedRequest(
            fields.model,
            (request,),
            None,
            bool(fields.stream),
            bool(fields.include_workflow),
            warnings=warnings.sentences,
        )

    def encoder(self, context: ResponseContext[None]) -> MessagesEncoder:
        """See `Dialect.encoder`."""
        return MessagesEncoder(context)

    def whole(self, context: ResponseContext[None], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        done = events[-1]
        assert isinstance(done, RunFinished)
        answer = done.answers[0]
        body = message_body(context, blocks(answer), usage_of(done), stop_of(answer))
        if context.workflow is not None:
            body["workflow"] = context.workflow()
        return body


def _extra(fields: MessagesBody, body: Mapping[str, JSON], warnings: Warnings) -> dict[str, JSON]:
    """Return the fields that go on to a pass-through upstream, by their names in OpenAI's shape."""
    extra = unknown_fields(body, MessagesBody)
    for name, reason in _LEFT_OUT.items():
        if extra.pop(name, None):
            warnings.add(f"`{name}` is left out: {reason}.")
    metadata = fields.metadata or {}
    if isinstance(metadata.get("user_id"), str):
        extra["user"] = metadata["user_id"]
    if metadata.keys() - {"user_id"}:
        warnings.add("`metadata` is left out but for `user_id`.")
    if fields.service_tier not in (None, "auto", "standard_only", "priority", "flex", "default"):
        warnings.add("`service_tier` is left out: it is unknown here.")
    if fields.top_k is not None:
        extra["top_k"] = fields.top_k
    return extra
