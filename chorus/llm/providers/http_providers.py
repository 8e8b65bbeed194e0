"""The built-in providers that speak HTTP, as factories for the provider table."""

from __future__ import annotations

from dataclasses import replace

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.providers.ollama import OllamaUpstream
from chorus.llm.providers.openai import OpenAIUpstream
from chorus.llm.providers.openai_relay import OpenAIRelay
from chorus.llm.providers.rerank import RerankEndpoint
from chorus.llm.transport.clients import Clients, UpstreamEndpoint


def openai(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The model `address`, which speaks OpenAI's API, at one address."""
    relay = OpenAIRelay(_endpoint(address, at, clients), address.model or address.name)
    return replace(_provider(OpenAIUpstream, address, at, clients), relay=relay)


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
        reranker = RerankEndpoint(_endpoint(address, at, clients), name=address.name, model=model)
    return Provider(upstream.instance_id, upstream, upstream, reranker, upstream.check, upstream.learned)


def _endpoint(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> UpstreamEndpoint:
    base = at.api_base.rstrip("/")
    return UpstreamEndpoint(clients, name=address.name, base=base, api_key=at.api_key, headers=address.headers)
