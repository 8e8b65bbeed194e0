"""A request as tokens for a model of MLX, and the refusal of what it cannot have."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chorus import wirejson
from chorus.errors import InvalidRequest, UnsupportedFeature, UpstreamRefused
from chorus.inference.engines.mlx.draws import Draws
from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest, Message, Text, ToolCall
from chorus.wirejson import JSON

_TRAITS: Final = Traits()
_EXTRA: Final = frozenset({"top_k", "min_p", "repetition_penalty", "logit_bias", "chat_template_kwargs"})
_DEFAULT_TEMPERATURE: Final = 1.0
"""OpenAI's, for a request and a `generation_config.json` that name none."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model continues."""

    tokens: list[int]
    is_thinking: bool
    """Whether the template has opened the model's thinking."""


def refuse_unsupported(request: ChatRequest, tokenizer: Any, warn: Callable[[str], None]) -> None:
    """Refuse a request whose answer would be wrong; `warn` of what is left out otherwise.

    Raises:
        UnsupportedFeature: it needs what this engine does not have.
    """
    if isinstance(request.prompt, tuple):
        raise UnsupportedFeature("This worker takes no prompts of token numbers.", param="prompt")
    if request.suffix:
        raise UnsupportedFeature("This worker only continues texts.", param="suffix")
    if request.prompt is None:
        _refuse_in_chat(request, tokenizer)
    if request.logprobs:
        warn("'logprobs' is left out: the worker's engine does not give them.")
    for name in sorted(request.extra.keys() - _EXTRA):
        warn(f"'{name}' is left out: the worker's engine does not take it.")


def _refuse_in_chat(request: ChatRequest, tokenizer: Any) -> None:
    for message in request.messages:
        if not isinstance(message.content, str) and any(not isinstance(part, Text) for part in message.content):
            raise UnsupportedFeature("This worker's engine takes texts only.", param="messages")
    if not tokenizer.has_chat_template:
        sentence = "This worker's model has no chat template; start it with one (--chat-template)."
        raise UnsupportedFeature(sentence, param="messages")
    kind = request.response_format.get("type") if isinstance(request.response_format, dict) else None
    if kind not in (None, "text"):
        raise UnsupportedFeature("This worker's engine does not hold answers to a schema.", param="response_format")
    if request.tools and request.tool_choice != "none":
        if not tokenizer.has_tool_calling:
            raise UnsupportedFeature("This worker's model knows no tools.", param="tools")
        if request.tool_choice not in (None, "auto"):
            raise UnsupportedFeature("This worker's model chooses tools by itself.", param="tool_choice")


def encode(request: ChatRequest, tokenizer: Any) -> Prompt:
    """Return the tokens of a request. Takes as long as its text is long: for a thread.

    Raises:
        UpstreamRefused: the chat template does not take its messages.
    """
    if request.prompt is not None:
        return Prompt(list(tokenizer.encode(request.prompt)), is_thinking=False)
    messages = [_message(message) for message in arranged(request.messages, _TRAITS)]
    more: dict[str, Any] = {}
    if request.tools and request.tool_choice != "none":
        more["tools"] = wirejson.decode(request.tools.encoded)
    if request.reasoning_effort is not None:
        more["enable_thinking"] = request.reasoning_effort not in ("none", False)
        more["reasoning_effort"] = request.reasoning_effort
    given = request.extra.get("chat_template_kwargs")
    if isinstance(given, dict):
        more.update(given)
    more |= {"add_generation_prompt": messages[-1]["role"] != "assistant", "tokenize": False}
    more["continue_final_message"] = not more["add_generation_prompt"]
    try:
        text = tokenizer.apply_chat_template(messages, **more)
    except Exception as problem:  # jinja's, and those that templates raise themselves
        refused = "the model's chat template does not take the messages"
        raise UpstreamRefused(refused, upstream_status=400, detail=str(problem)) from None
    opener = tokenizer.think_start
    return Prompt(
        list(tokenizer.encode(text, add_special_tokens=False)),
        is_thinking=bool(opener) and text.rstrip().endswith(opener),
    )


def _message(message: Message) -> dict[str, Any]:
    """Return a message as chat templates read it: with texts as one, and arguments as objects."""
    shown: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.reasoning:
        shown["reasoning_content"] = message.reasoning
    if message.tool_calls:
        shown["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        shown["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        shown["name"] = message.name
    return shown


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = call.arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def draws_of(request: ChatRequest, defaults: Mapping[str, JSON], vocabulary: int) -> Draws:
    """Return how the answer's tokens are drawn; `defaults` are those of the model.

    Raises:
        InvalidRequest: a value is out of its range.
    """
    sampling, extra = request.sampling, request.extra
    top_k = _number(extra, "top_k", defaults)
    if top_k is None or not 0 < top_k < vocabulary:
        top_k = 0  # which means all of them
    bias = extra.get("logit_bias") or {}
    try:
        biases = tuple((int(token), float(amount)) for token, amount in bias.items())
    except (AttributeError, TypeError, ValueError):
        raise InvalidRequest("'logit_bias' maps token numbers to numbers.", param="logit_bias") from None
    if any(not 0 <= token < vocabulary for token, _ in biases):
        raise InvalidRequest("'logit_bias' names a token that the model does not have.", param="logit_bias")
    temperature = _first(sampling.temperature, _number({}, "temperature", defaults), _DEFAULT_TEMPERATURE)
    min_p = _first(_number(extra, "min_p", defaults), 0.0)
    repetition = _number(extra, "repetition_penalty", defaults)
    if temperature < 0 or not 0 <= min_p <= 1 or (repetition is not None and repetition <= 0):
        raise InvalidRequest("'temperature', 'min_p' or 'repetition_penalty' is out of its range.")
    return Draws(
        temperature=temperature,
        top_p=_first(sampling.top_p, _number({}, "top_p", defaults), 0.0),
        top_k=int(top_k),
        min_p=min_p,
        seed=sampling.seed,
        repetition_penalty=None if repetition == 1 else repetition,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=biases,
    )


def _number(fields: Mapping[str, JSON], name: str, defaults: Mapping[str, JSON]) -> float | None:
    value = fields.get(name, defaults.get(name))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def room_of(tokens: Sequence[int], context: int, wanted: int | None) -> int:
    """Return how many tokens the answer may have.

    Raises:
        InvalidRequest: the prompt leaves no room, or is empty.
    """
    if not tokens:
        raise InvalidRequest("The prompt has no token.")
    room = context - len(tokens)
    if room < 1:
        raise InvalidRequest(f"The prompt has {len(tokens)} tokens; the model's context has {context}.")
    return room if wanted is None else min(room, max(1, wanted))
