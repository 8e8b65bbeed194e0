"""Build the stack that reaches a model. Its order is visible here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chorus import providers
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder
from chorus.llm.filters.concurrency import Limited, LimitedEmbedder, LimitedRelay, LimitedReranker, Slots
from chorus.llm.filters.embedding_batches import BatchedEmbedder, Batches, Work
from chorus.llm.filters.stop_words import StopsEnforced
from chorus.llm.pool.health import Health
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.llm.provider import Provider, ProviderFactory
from chorus.llm.providers.rerank_relay import RerankRelay
from chorus.llm.relay import Relay
from chorus.llm.rerank import Reranker
from chorus.llm.transport.clients import Clients


@dataclass(frozen=True, slots=True)
class Reached:
    """A model that can be asked; `embedder` is None where it cannot embed, `reranker` where it is
    none, `relay` where nothing is relayed to it."""

    upstream: Upstream
    embedder: Embedder | None
    reranker: Reranker | None
    pool: Pool
    relay: Relay | None = None


def build(
    address: ModelAddress,
    clients: Clients,
    slots: Slots | None = None,
    batches: Callable[[Work], Batches] | None = None,
) -> Reached:
    """Return the upstream stack of one model, outermost first: slots ▸ stop words ▸ pool ▸
    provider; for embeddings batches ▸ slots ▸ pool ▸ provider, for reranking and what is relayed
    slots ▸ pool ▸ provider.

    Raises:
        ConfigError: the provider's package cannot be loaded.
    """
    clients = clients.through(address.proxy)
    factory: ProviderFactory = providers.load(address.provider)
    connect = partial(_replica, address, factory, clients)
    pool = Pool(address.name, connect, address.replicas, balance=address.balance, max_attempts=address.attempts)
    upstream: Upstream = StopsEnforced(pool)
    first = pool.replicas[0] if pool.replicas else connect(ReplicaAddress(address.example))
    embedder: Embedder | None = LimitedEmbedder(pool, slots) if first.embedder else None
    reranker = LimitedReranker(pool, slots) if first.reranker else None
    if slots is not None:
        upstream = Limited(upstream, slots)
    if batches is not None and embedder is not None:
        embedder = BatchedEmbedder(embedder, batches)
    relay = LimitedRelay(pool, slots) if first.relay else None
    return Reached(upstream, embedder, reranker, pool, relay)


def _replica(address: ModelAddress, factory: ProviderFactory, clients: Clients, at: ReplicaAddress) -> Replica:
    """Return the replica `at` one address, with its health checks where `address` wants any."""
    provider = factory(address, at, clients)
    replica = Replica(
        provider.instance_id,
        provider.upstream,
        provider.embedder,
        provider.reranker,
        _relay(provider, address.name),
        weight=at.weight,
        lessons=provider.lessons,
        count_tokens=provider.count_tokens,
    )
    if address.health_check_secs is not None and provider.check is not None:
        replica.health = Health(provider.instance_id, provider.check, address.health_check_secs, replica.breaker)
    return replica


def _relay(provider: Provider, name: str) -> Relay | None:
    """Return what requests to one address are relayed by: the provider's own, else its reranker."""
    if provider.relay is not None or provider.reranker is None:
        return provider.relay
    return RerankRelay(provider.reranker, name)
