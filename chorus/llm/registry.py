"""From a model's description to the stack that reaches it. The order of the stack is visible here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chorus import providers
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Upstream
from chorus.llm.embed import QueuedEmbedder
from chorus.llm.filters.concurrency import Gate, Limited, LimitedEmbedder, LimitedReranker
from chorus.llm.filters.embedding_batches import Batches, Merged, Work
from chorus.llm.filters.stop_words import StopsEnforced
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.llm.rerank import QueuedReranker
from chorus.llm.transport.clients import Clients


class ProviderFactory(Protocol):
    """What a provider is in the provider table: a function that makes one replica of a model."""

    def __call__(self, address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Replica:
        """The replica `at` one address of the model `address`, reached through `clients`."""
        ...


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
    pool ▸ provider, for reranking gate ▸ pool ▸ provider.

    Raises:
        ConfigError: the provider's package cannot be loaded.
    """
    clients = clients.through(address.proxy)
    provider: ProviderFactory = providers.load(address.provider)
    replicas = [provider(address, each, clients) for each in address.replicas]
    pool = Pool(address.name, replicas, balance=address.balance, attempts=address.attempts)
    upstream: Upstream = StopsEnforced(pool)
    embedder: QueuedEmbedder | None = LimitedEmbedder(pool, gate) if replicas[0].embedder else None
    reranker = LimitedReranker(pool, gate) if replicas[0].reranker else None
    if gate is not None:
        upstream = Limited(upstream, gate)
    if batches is not None and embedder is not None:
        embedder = Merged(embedder, batches)
    return Reached(upstream, embedder, reranker, pool)
