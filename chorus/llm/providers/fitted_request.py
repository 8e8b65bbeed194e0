"""A request with what the configuration adds to it and leaves out, before it goes to a worker (I1).

Pure.

Above: the provider `grpc`. What a request holds and the worker's wire does not is named in a
warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chorus.errors import ConfigError, Problem, UnsupportedFeature
from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.fields import OF_TOOLS, Fields, overlaid, without_tool_fields
from chorus.llm.providers.openai_request import is_completion
from chorus.llm.providers.traits import Traits
from chorus.llm.providers.worker_messages import OLLAMAS
from chorus.types import ChatRequest, Extra, Message, Opaque, Part, Sampling, ToolCall, Tools
from chorus.wirejson import JSON

_FIELDS: Final = (
    *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"),
    *("logprobs", "top_logprobs", "suffix", "echo"),
)
"""Fields of a request that have the same name on OpenAI's wire."""
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_DEFAULTS: Final = ChatRequest("", ())
_INT64: Final = 2**63


class _Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """Those fields of `extra_body` that the worker's wire has fields for."""

    tools: list[JSON] | None = None
    tool_choice: JSON = None
    parallel_tool_calls: bool | None = None
    response_format: JSON = None
    reasoning_effort: str | bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    suffix: str | None = None
    echo: bool | None = None


class ExtraBody:
    """A model's `extra_body`: fields that take the place of a request's; objects merge."""

    def __init__(self, fields: Mapping[str, JSON], where: str) -> None:
        """`where` names the model in the configuration, for errors.

        Raises:
            ConfigError: a field has another type than its place on the wire.
        """
        others = dict(fields)
        for name in _LIMITS:
            if name in others:
                others["max_tokens"] = others.pop(name)
        sampling = {name: others.pop(name) for name in Sampling.__struct_fields__ if name in others}
        if isinstance(sampling.get("stop"), str):
            sampling["stop"] = [sampling["stop"]]
        known = {name: others.pop(name) for name in _Known.__struct_fields__ if name in others}
        try:
            self._sampling = {
                name: value
                for name in sampling
                if (value := getattr(msgspec.convert(sampling, Sampling), name)) is not None
            }
            self._known = {name: getattr(msgspec.convert(known, _Known), name) for name in known}
        except msgspec.ValidationError as problem:
            raise ConfigError([Problem(where, f"extra_body: {problem}")]) from None
        self._others = others

    def over(self, request: ChatRequest) -> ChatRequest:
        """Return `request` with these fields over its own."""
        changes: dict[str, Any] = {}
        if self._sampling:
            changes["sampling"] = msgspec.structs.replace(request.sampling, **self._sampling)
        for name, value in self._known.items():
            if name == "tools":
                changes["tools"] = Tools(value or ())
            elif value is not None:
                before = getattr(request, name)
                merges = isinstance(before, dict) and isinstance(value, dict)
                changes[name] = overlaid(before, value) if merges else value
        if self._others:
            changes["extra"] = overlaid(request.extra, self._others)
        return msgspec.structs.replace(request, **changes) if changes else request


def fitted(request: ChatRequest, traits: Traits, extra_body: ExtraBody, warn: Callable[[str], None]) -> ChatRequest:
    """Return `request` as a worker gets it.

    `warn` gets a sentence for each element that is left out or changed.

    Raises:
        UnsupportedFeature: the prompt is token numbers, or a whole number has more than 64 bits.
    """
    if isinstance(request.prompt, tuple):
        raise UnsupportedFeature("An inference worker takes a text as its prompt, not token numbers.", param="prompt")
    for name in ("seed", "max_tokens"):
        number = getattr(request.sampling, name)
        if number is not None and not -_INT64 <= number < _INT64:
            raise UnsupportedFeature(f"An inference worker takes a {name} of 64 bits.", param=name)
    _warn_of_ollamas(request, warn)
    changes: dict[str, Any] = {}
    if request.prompt is not None and not is_completion(request, traits):
        warn("The prompt is sent as a user message: its template is Ollama's own.")
        changes["prompt"] = None
    fields = Fields(traits)
    messages = arranged(request.messages, traits)
    if traits.omit:
        messages = [_message(message, fields) for message in messages]
        changes |= _without(request, fields)
    if messages is not request.messages:
        changes["messages"] = tuple(messages)
    if changes:
        request = msgspec.structs.replace(request, **changes)
    for name in sorted(fields.left_out):
        warn(f"'{name}' is left out: it is configured so.")
    return extra_body.over(request)


def _warn_of_ollamas(request: ChatRequest, warn: Callable[[str], None]) -> None:
    for name in sorted(request.ollama_options.keys() - OLLAMAS.keys()):
        warn(f"'options.{name}' is left out: the model is no Ollama model.")
    for name in sorted(request.generate_options.keys() - {"raw"}):
        warn(f"'{name}' is left out: the model is no Ollama model.")
    if request.keep_alive is not None:
        warn("'keep_alive' is left out: the model is no Ollama model.")


def _without(request: ChatRequest, fields: Fields) -> dict[str, Any]:
    """Return the changes that leave the configured fields out of `request`.

    Those of its messages are gone already.
    """
    changes: dict[str, Any] = {}
    given = msgspec.to_builtins(request.sampling)
    gone = {name for name in given if not fields.takes(name)}
    if "max_tokens" in given and not fields.takes("max_completion_tokens"):
        gone.add("max_tokens")
    if gone:
        unset = {name: getattr(_DEFAULTS.sampling, name) for name in gone}
        changes["sampling"] = msgspec.structs.replace(request.sampling, **unset)
    for name in _FIELDS:
        if getattr(request, name) != getattr(_DEFAULTS, name) and not fields.takes(name):
            changes[name] = getattr(_DEFAULTS, name)
    if request.tools:
        if not fields.takes("tools"):
            changes["tools"] = Tools()
        elif fields.omitted(OF_TOOLS) and isinstance(kept := without_tool_fields(request.tools, fields), list):
            changes["tools"] = Tools(kept)
    if fields.omitted(request.extra.keys()):
        changes["extra"] = fields.of(request.extra)
    return changes


def _message(message: Message, fields: Fields) -> Message:
    """`message` without the fields that are not sent; itself where it has none of them."""
    changes: dict[str, Any] = {}
    if message.reasoning and not fields.takes("reasoning_content"):
        changes["reasoning"] = ""
    if message.name is not None and not fields.takes("name"):
        changes["name"] = None
    if (extra := _extra(message.extra, fields)) is not message.extra:
        changes["extra"] = extra
    if message.tool_calls:
        calls = tuple(_with_extra(call, fields) for call in message.tool_calls)
        if any(new is not old for new, old in zip(calls, message.tool_calls, strict=True)):
            changes["tool_calls"] = calls
    if not isinstance(message.content, str):
        parts = tuple(_with_extra(part, fields) for part in message.content)
        if any(new is not old for new, old in zip(parts, message.content, strict=True)):
            changes["content"] = parts
    return msgspec.structs.replace(message, **changes) if changes else message


def _with_extra(item: Part | ToolCall, fields: Fields) -> Any:
    if isinstance(item, Opaque) or (extra := _extra(item.extra, fields)) is item.extra:
        return item
    return msgspec.structs.replace(item, extra=extra)


def _extra(extra: Extra, fields: Fields) -> Extra:
    """Return the fields that are sent; the same mapping where all are."""
    return fields.of(extra) if extra and fields.omitted(extra.keys()) else extra
