"""Requests to an OpenAI-compatible upstream: the body, in that API's shape."""

from __future__ import annotations

from typing import Any

import msgspec

from chorus.types import ChatRequest, Image, Message, Part, Text


def request_body(request: ChatRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The request as OpenAI's API wants it. Empty optional fields are left out: some upstreams refuse `tools: []` or
    `temperature: null`."""
    body: dict[str, Any] = {**request.extra, "model": model}
    if request.prompt is not None:
        body["prompt"] = request.prompt
        if request.suffix:
            body["suffix"] = request.suffix
        if request.logprobs:
            body["logprobs"] = request.top_logprobs or 1
    else:
        body["messages"] = [message_body(message) for message in request.messages]
        if request.tools:
            body["tools"] = msgspec.Raw(request.tools.encoded)
            if request.tool_choice is not None:
                body["tool_choice"] = request.tool_choice
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format is not None:
            body["response_format"] = request.response_format
        if isinstance(request.reasoning_effort, str):
            body["reasoning_effort"] = request.reasoning_effort
        if request.logprobs:
            body["logprobs"] = True
            if request.top_logprobs is not None:
                body["top_logprobs"] = request.top_logprobs
    sampling = msgspec.to_builtins(request.sampling)
    if "max_tokens" in sampling:
        body[request.max_tokens_name] = sampling.pop("max_tokens")
    body.update(sampling)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def message_body(message: Message) -> dict[str, Any]:
    """One message in OpenAI's shape."""
    body: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if isinstance(message.content, str):
        body["content"] = message.content
    else:
        body["content"] = [_part_body(part) for part in message.content]
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        body["content"] = body["content"] or None
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None and message.role != "tool":
        body["name"] = message.name
    return body


def _part_body(part: Part) -> dict[str, Any]:
    """One part of a message in OpenAI's shape."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **part.extra}
    if isinstance(part, Image):
        image = {"url": part.url, **({"detail": part.detail} if part.detail else {})}
        return {"type": "image_url", "image_url": image, **part.extra}
    return dict(part.data)
