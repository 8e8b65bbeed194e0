"""`POST /v1/responses` (A3): the request, and the `Response` object. `responses_stream.py` has the event sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chorus.errors import InvalidRequest, UnsupportedFeature
from chorus.events import Event
from chorus.server.dialects import responses_input
from chorus.server.dialects.base import Asked, Framing, Reply
from chorus.server.dialects.openai_wire import check_sampling, limit_of
from chorus.server.dialects.reading import read
from chorus.server.dialects.responses_stream import ResponsesEncoder, response_of
from chorus.server.errors import ErrorStyle
from chorus.types import ChatRequest, Sampling, Tools
from chorus.wirejson import JSON


class TextOptions(msgspec.Struct):
    format: dict[str, Any] | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class ResponsesBody(msgspec.Struct):
    """The request body. `messages` and `prompt` are Chorus's own additions to OpenAI's."""

    model: str
    input: str | list[Any] | dict[str, Any] | None = None
    instructions: str | list[Any] | dict[str, Any] | None = None
    messages: list[Any] | str | None = None
    prompt: str | list[Any] | dict[str, Any] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    include_workflow: bool | None = None


class OpenAIResponses:
    """OpenAI responses."""

    path: ClassVar[str] = "/v1/responses"
    error_style: ClassVar[ErrorStyle] = "openai"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = None
    body: ClassVar[type[msgspec.Struct]] = ResponsesBody
    summary: ClassVar[str] = "OpenAI responses"
    id_prefix: ClassVar[str] = "resp_"

    def parse(self, body: Mapping[str, JSON]) -> Asked:
        """See `Dialect.parse`."""
        asked = read(body, ResponsesBody)
        if asked.background and asked.store is False:
            raise InvalidRequest("A background response has to be stored.", param="store")
        max_tokens = limit_of(asked.max_output_tokens)
        check_sampling(asked.temperature, asked.top_p, max_tokens, "max_output_tokens")
        request = ChatRequest(
            model=asked.model,
            messages=responses_input.messages(asked.instructions, asked.input, asked.messages, asked.prompt),
            sampling=Sampling(asked.temperature, asked.top_p, max_tokens),
            tools=Tools(_tool(tool, f"tools[{position}]") for position, tool in enumerate(asked.tools or ())),
            tool_choice=_tool_choice(asked.tool_choice),
            parallel_tool_calls=asked.parallel_tool_calls,
            response_format=_response_format(asked.text),
            reasoning_effort=asked.reasoning.effort if asked.reasoning is not None else None,
        )
        return Asked(asked.model, (request,), bool(asked.stream), bool(asked.include_workflow), asked)

    def encoder(self, reply: Reply) -> ResponsesEncoder:
        """See `Dialect.encoder`."""
        return ResponsesEncoder(reply)

    def whole(self, reply: Reply, events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        return response_of(reply, events)


def _tool(tool: Mapping[str, JSON], place: str) -> JSON:
    """A function tool in chat's shape.

    Raises:
        UnsupportedFeature: OpenAI's hosted tools run on OpenAI's machines only.
    """
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        raise UnsupportedFeature(f"Invalid value for '{place}': only named function tools are supported.", param=place)
    wanted = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {key: tool[key] for key in wanted if tool.get(key) is not None}}


def _tool_choice(choice: str | Mapping[str, JSON] | None) -> JSON:
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _response_format(text: TextOptions | None) -> JSON:
    """`text.format` as chat's `response_format`."""
    wanted = text.format if text is not None else None
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") == "json_schema":
        schema = {key: wanted[key] for key in ("name", "description", "schema", "strict") if key in wanted}
        return {"type": "json_schema", "json_schema": schema}
    return wanted
