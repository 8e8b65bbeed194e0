"""The requests that stages send, shaped from the client's. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from chorus.types import ChatRequest, Message, Sampling, Tools
from chorus.wirejson import JSON
from chorus.workflow.model import Model
from chorus.workflow.plan import Leaf

_JUDGE_MAX_TOKENS = 4096
"""Room for a judge that thinks before it writes its line of JSON; a bound for one that rambles."""


def judging(
    request: ChatRequest, node: Leaf, model: Model, temperature: float | None, ours: Message, schema: JSON
) -> ChatRequest:
    """Return a request to judge: the client's conversation, then our message.

    It has none of the client's own settings.
    """
    messages = (*request.messages, ours)
    if node.system is not None:
        messages = (Message("system", node.system), *messages)
    return ChatRequest(
        model=request.model,
        messages=messages,
        sampling=Sampling(temperature=temperature, max_tokens=node.max_tokens or _JUDGE_MAX_TOKENS),
        response_format=schema if "json_schema" in model.capabilities else None,
        shared_messages=len(messages) - 1,
        **_tools_of_history(request),
    )


def addressed(request: ChatRequest, node: Leaf, temperature: float | None) -> ChatRequest:
    """Return the client's request as one node sends it: its temperature, system prompt and length.

    The conversation is what it shares with the other nodes.
    """
    sampling = msgspec.structs.replace(
        request.sampling, temperature=temperature, max_tokens=node.max_tokens or request.sampling.max_tokens
    )
    messages = request.messages
    shared = request.shared_messages or len(messages)
    if node.system is not None:
        messages = (Message("system", node.system), *messages)
        shared += 1
    return msgspec.structs.replace(
        request,
        messages=messages,
        sampling=sampling,
        prompt=None,
        suffix=None,
        extra={},
        shared_messages=shared,
    )


def merging(request: ChatRequest, node: Leaf, temperature: float | None, ours: Message) -> ChatRequest:
    """Return a request to write the final answer: the client's own, then our message.

    No tool is called in it: the candidates have decided whether one is.
    """
    merged = addressed(request, node, temperature)
    return msgspec.structs.replace(
        merged,
        messages=(*merged.messages, ours),
        parallel_tool_calls=None,
        anthropic_options={},
        **{"tools": Tools(), "tool_choice": None, **_tools_of_history(request)},
    )


def _tools_of_history(request: ChatRequest) -> dict[str, Any]:
    """Return the tools that a history with calls needs beside it, and that may not be called.

    Anthropic's API behind LiteLLM refuses a history without them.
    """
    has_calls = any(message.tool_calls or message.role == "tool" for message in request.messages)
    return {"tools": request.tools, "tool_choice": "none"} if has_calls and request.tools else {}
