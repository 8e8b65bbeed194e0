"""`openai`: an OpenAI-compatible server, such as vLLM's or SGLang's, behind a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chorus.errors import ConfigError, LLMError, Problem
from chorus.inference.engine import Engine, EngineSettings
from chorus.llm.base import CONNECT_SECS
from chorus.llm.filters.stop_words import StopsEnforced
from chorus.llm.providers.openai import OpenAIAddress, OpenAIUpstream
from chorus.llm.providers.traits import openai_traits
from chorus.llm.transport.clients import Clients


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's options."""

    api_base: str = ""
    """The server's address; the worker's `model` unless it is given."""
    model: str = ""
    """The name that the server knows the model by; the worker's `name` unless it is given."""
    api_key: str | None = None
    extra_body: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Merged into each request."""


@asynccontextmanager
async def engine(settings: EngineSettings) -> AsyncIterator[Engine]:
    """See `EngineFactory`. The server has to answer at the start."""
    try:
        options = msgspec.convert(dict(settings.options), _Options)
    except msgspec.ValidationError as problem:
        raise ConfigError([Problem("options", f"{problem}")]) from None
    api_base = options.api_base or settings.model
    if not api_base.startswith(("http://", "https://")):
        raise ConfigError([Problem("model", "expected the address of a server, such as http://127.0.0.1:8000/v1")])
    if settings.chat_template is not None:
        raise ConfigError([Problem("chat_template", "the server applies its own; give it the template there")])
    clients = Clients()
    model = options.model or settings.name
    try:
        upstream = OpenAIUpstream(
            clients,
            name=settings.name,
            at=OpenAIAddress(api_base.rstrip("/")),
            model=model,
            traits=openai_traits(model, api_base),
            api_key=options.api_key,
            extra_body=options.extra_body,
        )
        try:
            await upstream.check(CONNECT_SECS)
        except LLMError as problem:
            raise ConfigError([Problem("model", f"the server at {api_base} does not answer: {problem}")]) from None
        yield Engine(StopsEnforced(upstream), upstream)
    finally:
        await clients.aclose()
