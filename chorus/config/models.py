"""`[[model]]`: one entry per model, where it is and what it can do (C4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from chorus import providers
from chorus.config.discovery import DiscoveryConfig
from chorus.config.replicas import (
    DEFAULT_ADDRESSES,
    HEADER_VALUE,
    ReplicaConfig,
    as_replicas,
    check_address,
    check_scheme,
    checked_key,
    example_address,
)
from chorus.config.table import Array, Count, Seconds, Table
from chorus.config.timeouts import PassThroughTimeouts
from chorus.types import Balance, LimitField, PromptCache, SystemPlace

Capability = Literal["tools", "vision", "json_schema", "embeddings", "thinking", "rerank"]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest")
_PROXY_SCHEMES = frozenset({"http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"})
_MODEL_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?")

_NEEDED_FIELDS = frozenset({"model", "messages", "prompt", "input", "stream", "role", "content", "tool_calls"})


class PriceConfig(Table):
    """The price of a model per million tokens, in one currency of your choice for all models."""

    input: Price = Field(0.0, description="a price per million tokens, a number from 0")
    output: Price = Field(0.0, description="a price per million tokens, a number from 0")
    cached: Price | None = Field(None, description="a price per million tokens, a number from 0")
    """Input tokens that the upstream had in its cache; None: they cost as much as others."""
    cache_write: Price | None = Field(None, description="a price per million tokens, a number from 0")
    """Input tokens that the upstream wrote to its cache; None: they cost as much as others."""


class EmbeddingBatchConfig(Table):
    """How embedding requests of several callers are merged into one upstream call (K3)."""

    max_batch_size: Count = Field(64, description="a number of inputs, a whole number from 1")
    window_ms: Annotated[float, Field(ge=0, le=10_000)] = Field(
        5, description="a number of milliseconds from 0 to 10000"
    )
    """How long the first request waits for others."""


class ModelConfig(Table):
    """One `[[model]]`. Its `name` is what clients and workflows call it."""

    name: str = Field(description='a name of your choice, such as "glm-4.6"')
    provider: str = Field("openai", description='"openai", "responses", "anthropic", "azure", "ollama" or "demo"')
    """A name of the provider table (`chorus.providers`), which other packages extend."""
    # before api_base in this list: its check needs to know the provider, and whether there is
    # something in its place
    replicas: Annotated[tuple[ReplicaConfig, ...], BeforeValidator(as_replicas)] = Field(
        (), description="a list of addresses, or of tables {api_base, api_key, weight}"
    )
    discovery: DiscoveryConfig | None = Field(None, description='a table {type = "consul", "dns" or "static", ...}')
    """Who knows the replicas, in place of a list (D2)."""
    api_base: str | None = Field(
        None,
        validate_default=True,
        description='an http or https address, such as "http://localhost:11434/v1"',
    )
    balance: Balance = Field("least_load", description='"least_load", "round_robin", "weighted" or "latency"')
    retries: Annotated[int, Field(ge=0, le=10)] = Field(2, description="a whole number from 0 to 10")
    """How often a call that failed before any delivery is tried again, over all replicas (L4)."""
    api_key: SecretStr | None = Field(None, description="a key of visible ASCII characters, a string")
    model: str | None = Field(None, description="the upstream's name of the model, a string")
    temperature: Temperature | Literal["none"] | None = Field(
        None, description='a number from 0.0 to 2.0, or "none" for models that refuse one'
    )
    auto_temperature: bool = Field(False, description="true or false")
    headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="a table of HTTP header names and string values"
    )
    max_concurrency: Count | None = Field(None, description="a whole number from 1")
    max_waiting: Count = Field(1000, description="a whole number from 1")
    """How many calls may wait where `max_concurrency` are going on (K2)."""
    max_wait_secs: Seconds | None = Field(None, description="a number of seconds above 0")
    health_check_secs: Seconds | None = Field(None, description="a number of seconds above 0")
    """How often each replica is asked how it is (D4)."""
    embedding_batch: EmbeddingBatchConfig | None = Field(None, description="a table {max_batch_size, window_ms}")
    capabilities: Annotated[tuple[Capability, ...], Array] | None = Field(
        None, description='a list of "tools", "vision", "json_schema", "embeddings", "thinking", "rerank"'
    )
    price: PriceConfig | None = Field(None, description="a table {input, output, cached}, per million tokens")
    context_window: Count | None = Field(None, description="a number of tokens, a whole number from 1")
    timeouts: PassThroughTimeouts | None = Field(
        None,
        description="a table {first_byte_timeout_secs, idle_timeout_secs, total_timeout_secs, first_token_timeout_secs}",
    )
    """Limits of its own where a request names it; None: those of `[timeouts]`."""
    proxy: SecretStr | None = Field(None, description='a proxy\'s address, such as "http://proxy.lan:3128", or "none"')
    """None: the environment's (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY)."""
    extra_body: dict[str, object] = Field(
        default_factory=dict, repr=False, description="a table that is merged into every request"
    )
    system: SystemPlace | None = Field(None, description='"first" or "anywhere"')
    """Where the model takes system messages.

    None: what is known of its provider and family (`llm/providers/traits.py`).
    """
    max_tokens_field: LimitField | None = Field(None, description='"max_tokens" or "max_completion_tokens"')
    omit: Annotated[tuple[str, ...], Array] = Field((), description='a list of field names, such as "stream_options"')
    prompt_cache: PromptCache = Field("workflows", description='"workflows", "always" or "never"')
    """Which calls mark the end of their prompt for a cache of the upstream (Anthropic's)."""
    api_version: str | None = Field(None, description='a version of Azure\'s API, such as "2024-10-21" or "preview"')
    """Of provider "azure"; None: `/openai/v1` (`llm/providers/azure.py`)."""

    @property
    def first_base(self) -> str:
        """The address, or that of the first replica: what timeouts and prices go by."""
        return self.listed[0].api_base if self.listed else self.api_base or ""

    @property
    def listed(self) -> tuple[ReplicaConfig, ...]:
        """The replicas that the configuration names, in either way."""
        return self.discovery.replicas if self.discovery is not None else self.replicas

    @property
    def upstream_name(self) -> str:
        """The name by which the upstream knows the model."""
        return self.model or self.name

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _MODEL_NAME.fullmatch(name):
            raise ValueError("expected a name without control characters and without spaces at its ends")
        if name.split("/")[0].split(":")[0] == "chorus":
            raise ValueError("expected another name: `chorus` and `chorus/...` are the workflows' own")
        return name

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, provider: str) -> str:
        if providers.is_known(provider):
            return provider
        *others, last = map('"{}"'.format, providers.names())
        expected = f"expected {', '.join(others)} or {last}"
        nearest = get_close_matches(provider, providers.names(), n=1)
        raise ValueError(f'{expected}; did you mean "{nearest[0]}"?' if nearest else expected)

    @field_validator("api_base")
    @classmethod
    def _check_api_base(cls, address: str | None, info: ValidationInfo) -> str | None:
        provider = info.data.get("provider")  # absent when it is wrong itself, which is reported
        for other in ("replicas", "discovery"):
            if info.data.get(other):
                if address:
                    raise ValueError(f"found beside `{other}`; expected one of the two")
                return None
        if not address:
            # what is wrong itself is reported
            is_known = {"replicas", "discovery"} <= info.data.keys()
            if provider in ("openai", "ollama", "responses", "azure", "grpc") and is_known:
                problem = "missing;" if address is None else "but"
                raise ValueError(
                    f'{problem} provider "{provider}" needs an address, such as "{example_address(provider)}"'
                )
            return DEFAULT_ADDRESSES.get(provider or "") if is_known else None
        check_address(address)
        check_scheme(address, provider)
        return address.rstrip("/")

    @field_validator("replicas")
    @classmethod
    def _check_replicas(cls, replicas: tuple[ReplicaConfig, ...], info: ValidationInfo) -> tuple[ReplicaConfig, ...]:
        for replica in replicas:
            check_scheme(replica.api_base, info.data.get("provider"))
        return replicas

    @field_validator("discovery")
    @classmethod
    def _check_discovery(cls, discovery: DiscoveryConfig | None, info: ValidationInfo) -> DiscoveryConfig | None:
        provider = info.data.get("provider")
        if discovery is None or provider is None:
            return discovery
        if info.data.get("replicas"):
            raise ValueError("expected either `replicas` or `discovery`")
        if provider == "demo":
            raise ValueError('expected no discovery: provider "demo" has no addresses')
        addresses = [replica.api_base for replica in discovery.replicas]
        if discovery.type != "static":
            addresses = [discovery.api_base_of(provider) or ""]
            if addresses == [""]:
                raise ValueError(f'expected an `api_base` with {{host}} and {{port}} for provider "{provider}"')
        for address in addresses:
            check_scheme(address, provider)
        return discovery

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, key: SecretStr | None) -> SecretStr | None:
        return checked_key(key)

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and proxy.get_secret_value().strip().lower() != "none":
            _check_proxy_address(proxy.get_secret_value())
        return proxy

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        if not all(map(_HEADER_NAME.fullmatch, headers)) or not all(map(HEADER_VALUE.fullmatch, headers.values())):
            raise ValueError("expected HTTP header names and values of visible ASCII characters")
        return headers

    @field_validator("omit")
    @classmethod
    def _check_omit(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if needed := sorted(_NEEDED_FIELDS.intersection(names)):
            raise ValueError(f"expected fields that a request can do without; found {', '.join(needed)}")
        return names

    @field_validator("api_version")
    @classmethod
    def _check_api_version(cls, version: str | None, info: ValidationInfo) -> str | None:
        if version is not None and info.data.get("provider") not in ("azure", None):
            raise ValueError('expected provider "azure"; no other one has versions')
        if version is not None and not _API_VERSION.fullmatch(version):
            raise ValueError('expected a date, a date with "-preview", "v1", "preview" or "latest"')
        return version

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, body: dict[str, object]) -> dict[str, object]:
        return {key: _as_json(value) for key, value in body.items()}


def _check_proxy_address(address: str) -> None:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        is_usable = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError('expected the address of an HTTP or SOCKS proxy, such as "http://proxy.lan:3128", or "none"')


def _as_json(value: object) -> object:
    """`value` in plain Python types.

    A date of TOML has no JSON form and would fail at the first request.
    """
    match value:
        case str():
            return str(value)
        case bool() | int():
            return value
        case float() if value - value == 0:
            return value
        case Mapping():
            return {key: _as_json(item) for key, item in value.items()}
        case list():
            return [_as_json(item) for item in value]
        case _:
            raise ValueError("expected values that JSON can hold; write dates as strings")
