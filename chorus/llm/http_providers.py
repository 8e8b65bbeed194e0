"""The built-in providers that speak HTTP, as factories for the provider table."""

from __future__ import annotations

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.pool.health import Health
from chorus.llm.pool.replica import Replica
from chorus.llm.providers.ollama import OllamaUpstream
from chorus.llm.providers.openai import OpenAIUpstream
from chorus.llm.providers.rerank import RerankEndpoint
from chorus.llm.transport.clients import Clients, UpstreamEndpoint


def openai(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Replica:
    """The replica `at` of a model that speaks OpenAI's API."""
    return _replica(OpenAIUpstream, address, at, clients)


def ollama(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Replica:
    """The replica `at` of a model that speaks Ollama's API."""
    return _replica(OllamaUpstream, address, at, clients)


def _replica(
    kind: type[OllamaUpstream | OpenAIUpstream], address: ModelAddress, at: ReplicaAddress, clients: Clients
) -> Replica:
    model = address.model or address.name
    provider = kind(
        clients,
        name=address.name,
        api_base=at.api_base,
        model=model,
        api_key=at.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
        settings=address.settings,
    )
    upstream = UpstreamEndpoint(
        clients, name=address.name, base=at.api_base.rstrip("/"), api_key=at.api_key, headers=address.headers
    )
    reranker = RerankEndpoint(upstream, name=address.name, model=model) if address.reranks else None
    replica = Replica(provider.instance_id, provider, provider, reranker, at.weight, learned=provider.learned)
    if address.health_check_secs is not None:
        replica.health = Health(provider.instance_id, provider.check, address.health_check_secs, replica.breaker)
    return replica
