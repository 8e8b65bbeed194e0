"""Write requests to an OpenAI-compatible upstream, with the fields that it takes (L2). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chorus.encoded_messages import EncodedMessages, is_text
from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.fields import Fields, without_tool_fields
from chorus.llm.providers.traits import ANTHROPICS, EFFORTS, Traits, nearest_effort
from chorus.types import ChatRequest, Image, Message, Part, Text, ToolCall

_OURS: Final = frozenset({"stream_options", "annotations", *ANTHROPICS})
"""Fields that no client misses: Chorus adds the first, and the others mean something in answers, or
elsewhere, only.
"""


def is_completion(request: ChatRequest, traits: Traits) -> bool:
    """Return whether the request goes to the completion endpoint.

    A template without `raw` is Ollama's own: such a prompt is a user turn elsewhere.
    """
    if request.prompt is None:
        return False
    if not isinstance(request.prompt, str):
        return True
    if not traits.takes_prompts:
        return False
    return "template" not in request.generate_options or bool(request.suffix or request.generate_options.get("raw"))


def request_body(
    request: ChatRequest, model: str, traits: Traits, *, stream: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return the request as OpenAI's API wants it.

    Empty optional fields are left out: some upstreams refuse `tools: []` or `temperature: null`.
    `warn` gets a sentence for each of the client's fields that is left out or changed.
    """
    body: dict[str, Any] = {**request.extra, "model": model}
    fields = Fields(traits)
    sampling = msgspec.to_builtins(request.sampling)
    limit_field = "max_tokens"
    if is_completion(request, traits):
        body["prompt"] = request.prompt
        if request.suffix:
            body["suffix"] = request.suffix
        if request.echo:
            body["echo"] = True
        if request.logprobs:
            body["logprobs"] = request.top_logprobs if request.top_logprobs is not None else 1
        for name in request.generate_options.keys() - {"raw"}:
            warn(f"'{name}' is left out: model '{model}' is no Ollama model.")
    else:
        if request.prompt is not None:
            warn(f"The prompt is sent as a user message: model '{model}' has no endpoint for it.")
        limit_field = traits.max_tokens_field
        messages = arranged(request.messages, traits)
        if isinstance(messages, EncodedMessages):
            body["messages"] = messages.encoded
        else:
            body["messages"] = [message_body(message, fields) for message in messages]
        if request.tools:
            body["tools"] = without_tool_fields(request.tools, fields)
            if request.tool_choice is not None:
                body["tool_choice"] = request.tool_choice
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format is not None:
            body["response_format"] = request.response_format
        if (effort := wanted_effort(request, traits, fields, warn)) is not None:
            body["reasoning_effort"] = effort
        if request.logprobs:
            body["logprobs"] = True
            if request.top_logprobs is not None:
                body["top_logprobs"] = request.top_logprobs
    if "max_tokens" in sampling:
        body[limit_field] = sampling.pop("max_tokens")
    body.update(sampling)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    fields.leave_out(body)
    for name in sorted(request.ollama_options):
        warn(f"'options.{name}' is left out: model '{model}' is no Ollama model.")
    for name in sorted(fields.left_out - _OURS):
        warn(f"'{name}' is left out: model '{model}' does not take it.")
    return body


def wanted_effort(request: ChatRequest, traits: Traits, fields: Fields, warn: Callable[[str], None]) -> str | None:
    """Return the effort in a word that the family knows.

    `True` is thinking of no certain length.
    """
    wanted = request.reasoning_effort
    if wanted is None:
        return None
    effort = wanted if isinstance(wanted, str) else ("medium" if wanted else "none")
    if effort not in EFFORTS:
        return effort  # a word of the provider's own
    if traits.efforts is not None:
        if not traits.efforts:
            fields.left_out.add("reasoning_effort")
            return None
        sent = nearest_effort(effort, traits.efforts)
    else:
        sent = effort
    instead = dict(traits.refused_efforts)
    for _ in instead:
        sent = instead.get(sent, sent)
    if sent != effort:
        warn(f"'reasoning_effort' is sent as '{sent}': the model does not know the value that was asked for.")
    return sent


def message_body(message: Message, fields: Fields) -> dict[str, Any] | Message:
    """Return one message in OpenAI's shape: as it is where it has a role and a text only, as most
    have. A dictionary for each of 300 messages costs as much as encoding them.
    """
    if is_text(message):
        return message
    content = message.content
    body: dict[str, Any] = {"role": message.role, "content": content}
    if not isinstance(content, str):
        body["content"] = [_part_body(part, fields) for part in content]
    if message.reasoning and message.role == "assistant" and fields.takes("reasoning_content"):
        body["reasoning_content"] = message.reasoning
    if message.tool_calls:
        body["tool_calls"] = [_call_body(call, fields) for call in message.tool_calls]
        body["content"] = body["content"] or None
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None and fields.takes("name"):
        body["name"] = message.name
    if message.extra:
        body = {**fields.of(message.extra), **body}
    return body


def _call_body(call: ToolCall, fields: Fields) -> dict[str, Any]:
    """Return one tool call in OpenAI's shape."""
    body = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return {**body, **fields.of(call.extra)} if call.extra else body


def _part_body(part: Part, fields: Fields) -> dict[str, Any]:
    """Return one part of a message in OpenAI's shape."""
    if isinstance(part, Text):
        extra = fields.of(part.extra) if part.extra else {}
        return {"type": "text", "text": part.text, **extra}
    if isinstance(part, Image):
        image = {"url": part.url, **({"detail": part.detail} if part.detail else {})}
        return {"type": "image_url", "image_url": image, **(fields.of(part.extra) if part.extra else {})}
    return dict(part.data)
