"""What a provider is: a factory in the table of `chorus/providers.py`, and what it makes.

Above: `registry` asks a factory for each replica of a model. Below: `Upstream`, and `transport` for
those that speak HTTP. A provider knows nothing of pools, breakers and queues.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder
from chorus.llm.relay import Relay
from chorus.llm.rerank import Reranker
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest

TokenCounter = Callable[[ChatRequest, float], Awaitable[int]]
"""Returns how many tokens the prompt of a request has; the second argument is the seconds that
connecting may take. Raises LLMError."""


class Lessons(Protocol):
    """What the refusals of one replica have taught."""

    def as_json(self) -> list[str]:
        """Return a sentence for each lesson, for `GET /api/v1/upstreams`."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """One model at one address. `embedder` is None where it does not embed, `reranker` where it
    does not rerank."""

    instance_id: str
    """Names the address in traces, logs and metrics, such as "glm@127.0.0.1:8000"."""
    upstream: Upstream
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    check: Callable[[float], Awaitable[None]] | None = None
    """Asks whether the server is there, without a token's cost; the argument is the seconds that
    connecting may take. Raises LLMError where it is not. None: it cannot be asked (D4)."""
    lessons: Lessons | None = None
    relay: Relay | None = None
    """Where requests of OpenAI's other endpoints (images, audio, reranking, moderations) are
    relayed to; None where there are none.
    """
    count_tokens: TokenCounter | None = None
    """Counts the tokens of a request's prompt, without a token's cost; None: it does not say."""


class ProviderFactory(Protocol):
    """A provider of the provider table: a function that reaches a model at one address."""

    def __call__(self, address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
        """Return the model `address` at one of its addresses, reached through `clients`."""
        ...
