"""The providers of OpenAI's and Ollama's APIs, as factories for the provider table."""

from __future__ import annotations

from dataclasses import replace

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.providers.ollama import OllamaUpstream
from chorus.llm.providers.openai import OpenAIAddress, OpenAIUpstream
from chorus.llm.providers.openai_relay import OpenAIRelay
from chorus.llm.providers.rerank import RerankEndpoint
from chorus.llm.providers.traits import openai_traits
from chorus.llm.transport.clients import Clients, UpstreamEndpoint


def openai(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, which speaks OpenAI's API, at one address."""
    model = address.model or address.name
    upstream = OpenAIUpstream(
        clients,
        name=address.name,
        at=OpenAIAddress(at.api_base.rstrip("/")),
        model=model,
        traits=openai_traits(model, at.api_base, address.settings),
        api_key=at.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
    )
    relay = OpenAIRelay(_endpoint(address, at, clients), model)
    return replace(_provider(upstream, address, at, clients), relay=relay)


def ollama(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, which speaks Ollama's API, at one address."""
    upstream = OllamaUpstream(
        clients,
        name=address.name,
        api_base=at.api_base,
        model=address.model or address.name,
        api_key=at.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
        settings=address.settings,
    )
    return _provider(upstream, address, at, clients)


def _provider(
    upstream: OllamaUpstream | OpenAIUpstream, address: ModelAddress, at: ReplicaAddress, clients: Clients
) -> Provider:
    """Return the provider of `upstream`, with a reranker where the model reranks."""
    reranker = None
    if address.reranks:
        reranker = RerankEndpoint(
            _endpoint(address, at, clients), name=address.name, model=address.model or address.name
        )
    return Provider(upstream.instance_id, upstream, upstream, reranker, upstream.check, upstream.learned)


def _endpoint(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> UpstreamEndpoint:
    base = at.api_base.rstrip("/")
    return UpstreamEndpoint(clients, name=address.name, base=base, api_key=at.api_key, headers=address.headers)
