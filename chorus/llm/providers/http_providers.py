"""The built-in providers that speak HTTP, as factories for the provider table."""

from __future__ import annotations

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.providers.ollama import OllamaUpstream
from chorus.llm.providers.openai import OpenAIUpstream
from chorus.llm.providers.rerank import RerankEndpoint
from chorus.llm.transport.clients import Clients, UpstreamEndpoint


def openai(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The model `address`, which speaks OpenAI's API, at one address."""
    return _provider(OpenAIUpstream, address, at, clients)


def ollama(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The model `address`, which speaks Ollama's API, at one address."""
    return _provider(OllamaUpstream, address, at, clients)


def _provider(
    kind: type[OllamaUpstream | OpenAIUpstream],
    address: ModelAddress,
    at: ReplicaAddress,
    clients: Clients,
) -> Provider:
    model = address.model or address.name
    upstream = kind(
        clients,
        name=address.name,
        api_base=at.api_base,
        model=model,
        api_key=at.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
        settings=address.settings,
    )
    reranker = None
    if address.reranks:
        base = UpstreamEndpoint(
            clients, name=address.name, base=at.api_base.rstrip("/"), api_key=at.api_key, headers=address.headers
        )
        reranker = RerankEndpoint(base, name=address.name, model=model)
    return Provider(upstream.instance_id, upstream, upstream, reranker, upstream.check, upstream.learned)
