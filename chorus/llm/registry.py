"""From a model's description to the stack that reaches it. The order of the stack is visible here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from chorus.llm.balance import Balance
from chorus.llm.base import Upstream
from chorus.llm.clients import Clients, Site
from chorus.llm.demo import DemoUpstream
from chorus.llm.embed import QueuedEmbedder
from chorus.llm.health import Health
from chorus.llm.limit import Gate, Limited, LimitedEmbedder, LimitedReranker
from chorus.llm.merged import Batches, Merged, Work
from chorus.llm.ollama import OllamaUpstream
from chorus.llm.openai import OpenAIUpstream
from chorus.llm.pool import Pool
from chorus.llm.replica import Replica
from chorus.llm.rerank import QueuedReranker, RerankEndpoint
from chorus.llm.stops import StopsEnforced
from chorus.llm.traits import UNSET, Settings
from chorus.wirejson import JSON

Provider = Literal["openai", "ollama", "demo"]


@dataclass(frozen=True, slots=True)
class ReplicaAddress:
    """One address that serves a model."""

    api_base: str = ""
    api_key: str | None = field(default=None, repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """All that is needed to reach one model. `attempts` bounds how often one call is tried, over all replicas."""

    name: str
    provider: Provider = "openai"
    replicas: tuple[ReplicaAddress, ...] = (ReplicaAddress(),)
    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, JSON] = field(default_factory=dict)
    balance: Balance = "least_load"
    attempts: int = 3
    reranks: bool = False
    health_check_secs: float | None = None
    settings: Settings = UNSET
    proxy: str | None = field(default=None, repr=False)
    """The proxy of its own, or "none"; None: the environment's."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A model that can be asked; `embedder` is None where it cannot embed, `reranker` where it is none."""

    upstream: Upstream
    embedder: QueuedEmbedder | None
    reranker: QueuedReranker | None
    pool: Pool


def build(
    address: ModelAddress,
    clients: Clients,
    gate: Gate | None = None,
    batches: Callable[[Work], Batches] | None = None,
) -> Reached:
    """The upstream stack of one model, outermost first: gate ▸ stop words ▸ pool ▸ provider; for embeddings batches ▸ gate ▸
    pool ▸ provider, for reranking gate ▸ pool ▸ provider."""
    clients = clients.through(address.proxy)
    replicas = [_replica(address, each, clients) for each in address.replicas]
    pool = Pool(address.name, replicas, balance=address.balance, attempts=address.attempts)
    upstream: Upstream = StopsEnforced(pool)
    embedder: QueuedEmbedder | None = LimitedEmbedder(pool, gate) if replicas[0].embedder else None
    reranker = LimitedReranker(pool, gate) if replicas[0].reranker else None
    if gate is not None:
        upstream = Limited(upstream, gate)
    if batches is not None and embedder is not None:
        embedder = Merged(embedder, batches)
    return Reached(upstream, embedder, reranker, pool)


def _replica(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Replica:
    if address.provider == "demo":
        return Replica("demo", DemoUpstream(address.name, model=address.model or address.name), weight=at.weight)
    kind: type[OllamaUpstream | OpenAIUpstream] = OllamaUpstream if address.provider == "ollama" else OpenAIUpstream
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
    site = Site(clients, name=address.name, base=at.api_base.rstrip("/"), api_key=at.api_key, headers=address.headers)
    reranker = RerankEndpoint(site, name=address.name, model=model) if address.reranks else None
    replica = Replica(provider.instance_id, provider, provider, reranker, at.weight, learned=provider.learned)
    if address.health_check_secs is not None:
        replica.health = Health(provider.instance_id, provider.check, address.health_check_secs, replica.breaker)
    return replica
