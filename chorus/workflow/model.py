"""A model as the engine sees it: what answers, what it can do, what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from chorus.llm.base import Upstream
from chorus.llm.embed import Embedder
from chorus.llm.rerank import Reranker
from chorus.types import Timeouts
from chorus.usage import Usage
from chorus.workflow.judging.temperature import ModelTemperature


@dataclass(frozen=True, slots=True)
class Price:
    """Price per million tokens, in whatever currency the configuration means."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None

    def of(self, usage: Usage) -> float:
        """Return the price of `usage`."""
        cached = usage.cached_tokens if self.cached is not None else 0
        written = usage.cache_write_tokens if self.cache_write is not None else 0
        fresh = usage.prompt_tokens - cached - written
        paid = fresh * self.input + cached * (self.cached or 0.0) + written * (self.cache_write or 0.0)
        paid += usage.completion_tokens * self.output
        return paid / 1_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """A configured model as the engine sees it."""

    name: str
    upstream: Upstream
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    temperature: ModelTemperature = field(default_factory=ModelTemperature)
    timeouts: Timeouts = field(default_factory=Timeouts)
    capabilities: frozenset[str] = frozenset()
    price: Price | None = None
    context_window: int | None = None

    def priced(self, usage: Usage) -> Usage:
        """Return `usage` with its cost where the model has a price."""
        return usage + Usage(cost=self.price.of(usage)) if self.price is not None else usage
