"""The requests that stages send, shaped from the client's. Pure."""

from __future__ import annotations

import msgspec

from chorus.types import ChatRequest, Message, Sampling, Tools
from chorus.wirejson import JSON
from chorus.workflow.base import Model
from chorus.workflow.plan import Leaf

_JUDGE_MAX_TOKENS = 4096
"""Room for a judge that thinks before it writes its line of JSON; a bound for one that rambles."""


def judging(
    request: ChatRequest, node: Leaf, model: Model, heat: float | None, ours: Message, schema: JSON
) -> ChatRequest:
    """A request to judge: the client's conversation, our message behind it, none of the client's own settings."""
    messages = (*request.messages, ours)
    if node.system is not None:
        messages = (Message("system", node.system), *messages)
    return ChatRequest(
        model=request.model,
        messages=messages,
        sampling=Sampling(temperature=heat, max_tokens=node.max_tokens or _JUDGE_MAX_TOKENS),
        response_format=schema if "json_schema" in model.capabilities else None,
    )


def addressed(request: ChatRequest, node: Leaf, heat: float | None) -> ChatRequest:
    """The client's request as one node sends it: at its temperature, with its own system prompt and length."""
    sampling = msgspec.structs.replace(
        request.sampling, temperature=heat, max_tokens=node.max_tokens or request.sampling.max_tokens
    )
    messages = request.messages
    if node.system is not None:
        messages = (Message("system", node.system), *messages)
    return msgspec.structs.replace(request, messages=messages, sampling=sampling, prompt=None, suffix=None, extra={})


def merging(request: ChatRequest, node: Leaf, heat: float | None, ours: Message) -> ChatRequest:
    """A request to write the final answer: the client's own, without its tools (the candidates have decided whether one
    is called), with our message behind the conversation."""
    merged = addressed(request, node, heat)
    return msgspec.structs.replace(
        merged, messages=(*merged.messages, ours), tools=Tools(), tool_choice=None, parallel_tool_calls=None
    )
