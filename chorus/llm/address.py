"""The addresses of a model's replicas, and the settings that hold for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chorus.types import Balance, LimitField, PromptCache, SystemPlace
from chorus.wirejson import JSON


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says of one model; None leaves it to what is known."""

    system: SystemPlace | None = None
    max_tokens_field: LimitField | None = None
    omit: frozenset[str] = frozenset()
    prompt_cache: PromptCache = "workflows"
    api_version: str | None = None
    """Azure's `api-version`."""


UNSET: Final = Settings()


@dataclass(frozen=True, slots=True)
class ReplicaAddress:
    """One address that serves a model."""

    api_base: str = ""
    api_key: str | None = field(default=None, repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """All that is needed to reach one model.

    `attempts` bounds how often one call is tried, over all replicas.
    """

    name: str
    provider: str = "openai"
    """A name of the provider table (`chorus.providers`)."""
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
    example: str = ""
    """An address such as those that discovery finds, where there is no replica yet."""
