"""Write requests to the Messages API, with the fields that the model takes (L2). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chorus.errors import UnsupportedFeature
from chorus.llm.providers.anthropic.caching import keep_few_marks, mark_prefix, order_marks
from chorus.llm.providers.anthropic.families import Family
from chorus.llm.providers.anthropic.messages import Conversation
from chorus.llm.providers.anthropic.thinking import INTERLEAVED, sampling_fields, thinking_fields
from chorus.llm.providers.anthropic.tools import format_fields, tool_fields
from chorus.llm.providers.tool_names import changed_names
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest, Message
from chorus.wirejson import JSON

COUNTED: Final = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"})
"""Fields that the endpoint which counts tokens takes."""
_OWN: Final = (
    *("container", "context_management", "mcp_servers", "inference_geo", "speed", "service_tier"),
    *("cache_control", "diagnostics", "metadata", "user_profile_id", "fallbacks"),
)
"""Fields of this API that no other has: they go out as the client of Anthropic's dialect wrote
them.
"""
MAX_NAME: Final = 128
"""Characters of the name of a tool."""
_MAX_USER: Final = 256
_PERSONAL: Final = re.compile(r"@|^\+?[\d\s().-]{7,}$")
"""What is in an e-mail address, and what a telephone number looks like."""
_TIERS: Final = ("auto", "standard_only")
_TAKEN: Final = frozenset({"user", "top_k", "thinking", "stream_options"})
"""Fields of a request's `extra` that are converted here, or that nobody misses."""


def request_body(
    request: ChatRequest,
    model: str,
    family: Family,
    traits: Traits,
    *,
    stream: bool,
    caches: bool,
    warn: Callable[[str], None],
    thinking: JSON = None,
    betas: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the request as the Messages API wants it.

    `caches` asks for marks of the prompt cache beside the client's own. `thinking` is the
    configured field, which stands for the client's. `betas` are the features that the request
    names. `warn` gets a sentence for each of the client's fields that is left out or changed.

    Raises:
        UnsupportedFeature: a part is of a kind that no model of Anthropic's reads; or the prompt is
            token numbers.
    """
    given = _given(request, thinking)
    max_tokens = _max_tokens(request, family, warn)
    names = changed_names(request, MAX_NAME)
    conversation = Conversation(_messages(request, warn), request.shared_messages, names, warn)
    if not family.prefills:
        conversation.end_with_a_user()
    output_format, instruction = format_fields(request, given, family, traits, warn)
    if instruction:
        conversation.system.append({"type": "text", "text": instruction})
    tools = tool_fields(request, given, conversation.turns, names, family, traits, warn)
    thought = thinking_fields(
        request,
        given,
        family,
        traits,
        max_tokens,
        warn,
        begins=conversation.ends_with_an_answer,
        lacks_thinking=conversation.lacks_thinking,
        is_interleaved=any(name.startswith(INTERLEAVED) for name in betas),
    )
    output = {**thought.pop("output_config", {}), **({"format": output_format} if output_format else {})}
    listed = tools.get("tools", [])
    if caches:
        end = conversation.shared_end if request.shared_messages else conversation.turns[-1]["content"][-1]
        mark_prefix(listed, conversation.system, conversation.turns, end)
    if keep_few_marks(listed, conversation.system, conversation.turns):
        warn("A request has four marks of the prompt cache at most; the earliest are left out.")
    order_marks(listed, conversation.system, conversation.turns)
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    if conversation.system:
        body["system"] = conversation.system
    body |= {"messages": conversation.turns, **tools, **thought}
    if output:
        body["output_config"] = output
    thinks = thought.get("thinking", {}).get("type") in ("enabled", "adaptive")
    body |= sampling_fields(request, family, thinks=thinks, warn=warn)
    if stop := [word for word in request.sampling.stop if word.strip()]:  # others are enforced here
        body["stop_sequences"] = stop
    body |= {name: given[name] for name in _OWN if given.get(name) is not None}
    body |= _about_the_client(request, body, warn)
    if stream:
        body["stream"] = True
    for name in sorted(traits.omit & body.keys()):
        del body[name]
        warn(f"'{name}' is left out: model '{model}' does not take it.")
    _warn_of_others(request, model, warn)
    return body


def _given(request: ChatRequest, configured: JSON) -> Mapping[str, JSON]:
    """Return the client's own fields of this wire, and the configured `thinking`.

    Clients of chat completions write `thinking` beside the others, as LiteLLM takes it.
    """
    if configured is not None:
        return {**request.anthropic_options, "thinking": configured}
    if request.anthropic_options:
        return request.anthropic_options
    thinking = request.extra.get("thinking")
    return {"thinking": thinking} if isinstance(thinking, Mapping) else {}


def _messages(request: ChatRequest, warn: Callable[[str], None]) -> tuple[Message, ...]:
    if isinstance(request.prompt, tuple):
        raise UnsupportedFeature(
            "A model of Anthropic's takes a text as its prompt, not token numbers.", param="prompt"
        )
    if request.prompt is not None:
        warn("The prompt is sent as a user message: the API has no endpoint for it.")
    return request.messages


def _max_tokens(request: ChatRequest, family: Family, warn: Callable[[str], None]) -> int:
    wanted = request.sampling.max_tokens
    if wanted is None:
        return family.max_tokens
    if family.is_known and wanted > family.max_tokens:
        warn(f"'max_tokens' is sent as {family.max_tokens}: the model writes no longer answers.")
        return family.max_tokens
    return wanted


def _about_the_client(request: ChatRequest, body: Mapping[str, JSON], warn: Callable[[str], None]) -> dict[str, JSON]:
    """Return who asks, and which service tier, of a request in OpenAI's fields.

    The API refuses the addresses and numbers of people.
    """
    fields: dict[str, JSON] = {}
    user, tier = request.extra.get("user"), request.extra.get("service_tier")
    if isinstance(user, str) and user and "metadata" not in body:
        if _PERSONAL.search(user) or len(user) > _MAX_USER:
            warn("'user' is left out: the API takes an opaque id of at most 256 characters.")
        else:
            fields["metadata"] = {"user_id": user}
    if tier in _TIERS and "service_tier" not in body:
        fields["service_tier"] = tier
    return fields


def _warn_of_others(request: ChatRequest, model: str, warn: Callable[[str], None]) -> None:
    """Say what of the request the API has no place for."""
    sampling = request.sampling
    unknown = {
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logprobs": request.logprobs or None,
        "suffix": request.suffix or None,
        "echo": request.echo or None,
        **{name: value for name, value in request.extra.items() if name not in _TAKEN},
        **{name: value for name, value in request.generate_options.items() if name != "raw"},
        **{name: value for name, value in request.ollama_options.items() if name != "top_k"},
    }
    if unknown.get("service_tier") in _TIERS:
        del unknown["service_tier"]
    if any(message.name and message.role != "tool" for message in request.messages):
        unknown["name"] = True
    for name in sorted(name for name, value in unknown.items() if value is not None):
        warn(f"'{name}' is left out: model '{model}' does not take it.")
