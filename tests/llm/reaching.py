"""Asking an upstream of either provider, as the tests of this folder do."""

from __future__ import annotations

from collections.abc import Mapping

from chorus.llm.address import UNSET, ModelAddress, ReplicaAddress, Settings
from chorus.llm.base import Call, Chunk, Upstream, context_headers
from chorus.llm.registry import Reached, build
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message
from chorus.wirejson import JSON
from tests.kit import ScriptedUpstream

QUESTION = ChatRequest("m", (Message("user", "How?"),))
PROVIDERS: tuple[str, ...] = ("openai", "ollama")


def reached(
    base: str,
    clients: Clients,
    provider: str = "openai",
    *,
    model: str = "m",
    reranks: bool = False,
    extra_body: Mapping[str, JSON] | None = None,
    settings: Settings = UNSET,
) -> Reached:
    """The model `m` at `base`, which the upstream knows as `model`; each call is tried once."""
    return build(
        ModelAddress(
            "m",
            provider,
            (ReplicaAddress(base, "sk-secret"),),
            model,
            attempts=1,
            reranks=reranks,
            extra_body=extra_body or {},
            settings=settings,
        ),
        clients,
    )


def reach(scripted: ScriptedUpstream, clients: Clients, provider: str) -> Upstream:
    """The scripted upstream as a model of `provider`."""
    return reached(scripted.api_base if provider == "openai" else scripted.base, clients, provider).upstream


async def ask(upstream: Upstream, request: ChatRequest = QUESTION, *, stream: bool = True) -> list[Chunk]:
    """All chunks of an answer."""
    async with upstream.open(Call(request, context_headers("req-1"), stream)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks: list[Chunk]) -> str:
    """The text of an answer."""
    return "".join(chunk.text for chunk in chunks)
