"""Requests as the provider writes them, each checked against the rules of the real API."""

from __future__ import annotations

from typing import Any

from chorus.llm.providers.anthropic.families import family_of
from chorus.llm.providers.anthropic.request import request_body
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest, Message
from tests.kit.providers.anthropic_rules import check

BUDGET, BOTH, ADAPTIVE = "claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-5-5"
HOW = Message("user", "How?")


def written(
    request: ChatRequest,
    model: str = BUDGET,
    *,
    caches: bool = False,
    omit: frozenset[str] = frozenset(),
    thinking: Any = None,
) -> tuple[dict[str, Any], list[str]]:
    """The body for `model`, which the API takes, and the warnings."""
    warnings: list[str] = []
    family = family_of(model)
    traits = Traits(adaptive_thinking=family.thinking == "adaptive", omit=omit)
    body = request_body(
        request, model, family, traits, stream=False, caches=caches, warn=warnings.append, thinking=thinking
    )
    check(body)
    return body, warnings


def asking(*messages: Message, **more: Any) -> ChatRequest:
    """A request with these messages, or a plain one."""
    return ChatRequest("m", messages or (HOW,), **more)


def function(name: str = "weather", **more: Any) -> dict[str, Any]:
    """A tool in OpenAI's shape."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}
