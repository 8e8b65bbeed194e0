"""From a model's description to the stack that reaches it. The order of the stack is visible here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chorus.llm.base import Upstream
from chorus.llm.clients import Clients, Site
from chorus.llm.demo import DemoUpstream
from chorus.llm.embed import Embedder
from chorus.llm.limit import Limited
from chorus.llm.ollama import OllamaUpstream
from chorus.llm.openai import OpenAIUpstream
from chorus.llm.rerank import RerankEndpoint, Reranker
from chorus.llm.stops import StopsEnforced
from chorus.wirejson import JSON

Provider = Literal["openai", "ollama", "demo"]


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """All that is needed to reach one model."""

    name: str
    provider: Provider = "openai"
    api_base: str = ""
    model: str = ""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, JSON] = field(default_factory=dict)
    max_concurrency: int | None = None
    reranks: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """A model that can be asked; `embedder` is None where it cannot embed, `reranker` where it is none."""

    upstream: Upstream
    embedder: Embedder | None
    reranker: Reranker | None


def build(address: ModelAddress, clients: Clients) -> Reached:
    """The upstream stack of one model, outermost first: limit ▸ stop words ▸ provider."""
    provider = _provider(address, clients)
    upstream: Upstream = StopsEnforced(provider)
    if address.max_concurrency is not None:
        upstream = Limited(upstream, address.max_concurrency)
    reranker = (
        RerankEndpoint(_site(address, clients), name=address.name, model=address.model)
        if address.reranks and address.api_base
        else None
    )
    return Reached(upstream, None if isinstance(provider, DemoUpstream) else provider, reranker)


def _site(address: ModelAddress, clients: Clients) -> Site:
    base = address.api_base.rstrip("/")
    return Site(clients, name=address.name, base=base, api_key=address.api_key, headers=address.headers)


def _provider(address: ModelAddress, clients: Clients) -> OpenAIUpstream | OllamaUpstream | DemoUpstream:
    if address.provider == "demo":
        return DemoUpstream(address.name, model=address.model or address.name)
    kind: type[OllamaUpstream | OpenAIUpstream] = OllamaUpstream if address.provider == "ollama" else OpenAIUpstream
    return kind(
        clients,
        name=address.name,
        api_base=address.api_base,
        model=address.model or address.name,
        api_key=address.api_key,
        headers=address.headers,
        extra_body=address.extra_body,
    )
