"""Asking an upstream of either provider, as the tests of this folder do."""

from __future__ import annotations

from chorus.llm.base import Call, Chunk, Upstream
from chorus.llm.clients import Clients
from chorus.llm.registry import ModelAddress, Provider, Reached, ReplicaAddress, build
from chorus.types import ChatRequest, Message
from tests.kit import ScriptedUpstream

QUESTION = ChatRequest("m", (Message("user", "How?"),))
PROVIDERS: tuple[Provider, ...] = ("openai", "ollama")


def reached(base: str, clients: Clients, provider: Provider = "openai", *, reranks: bool = False) -> Reached:
    """The model `m` at `base`, each call of which is tried once."""
    address = ModelAddress("m", provider, (ReplicaAddress(base, "sk-secret"),), "m", attempts=1, reranks=reranks)
    return build(address, clients)


def reach(scripted: ScriptedUpstream, clients: Clients, provider: Provider) -> Upstream:
    """The scripted upstream as a model of `provider`."""
    return reached(scripted.api_base if provider == "openai" else scripted.base, clients, provider).upstream


async def ask(upstream: Upstream, request: ChatRequest = QUESTION, *, stream: bool = True) -> list[Chunk]:
    """All chunks of an answer."""
    async with upstream.open(Call(request, "req-1", stream)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks: list[Chunk]) -> str:
    """The text of an answer."""
    return "".join(chunk.text for chunk in chunks)
