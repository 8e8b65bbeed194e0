"""`[limits]` and `[storage]`: how much may be asked, and where it is counted (K1, M2)."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from chorus.config.table import Table
from chorus.rate import EXPECTED, Rate, rate


def _as_rates(value: object) -> object:
    """Return one rate, or a list of them."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return tuple(map(rate, texts))
    return value


Rates = Annotated[tuple[Rate, ...], BeforeValidator(_as_rates)]
_DESCRIPTION = f"{EXPECTED}, or a list of rates"

MEMORY: Final = "memory:"
_REDIS: Final = ("redis://", "rediss://", "unix://")
_EXPECTED_STORE: Final = (
    '"memory:", "sqlite:///" with the path of a file, or the address of a Redis, such as "redis://127.0.0.1:6379/0"'
)
_EXPECTED_FILE: Final = (
    'expected "sqlite:///" with the path of a file, such as "sqlite:////var/lib/chorus/chorus.db"; `?`, `#` and `%` '
    "in a path are written as %3F, %23 and %25"
)


class LimitConfig(Table):
    """The rates of one scope; all of them hold."""

    requests: Rates = Field((), description=_DESCRIPTION)
    """Calls of models: a workflow of seven calls is seven."""
    tokens: Rates = Field((), description=_DESCRIPTION)
    """Tokens read and written, by all calls together."""


class LimitsConfig(LimitConfig):
    """`[limits]`: rate limits of the whole server, of each key, route and model (K1)."""

    keys: LimitConfig = Field(default_factory=LimitConfig, description="a table {requests, tokens}")
    """For each key that has no limits of its own."""
    routes: dict[str, LimitConfig] = Field(
        default_factory=dict, description='tables named by path: [limits.routes."/v1/embeddings"]'
    )
    models: dict[str, LimitConfig] = Field(
        default_factory=dict, description='tables named by model: [limits.models."glm-4.6"]'
    )
    shared_concurrency: bool = Field(False, description="true or false")
    """Whether every `max_concurrency` holds for all processes with one Redis together (K2)."""


class StorageConfig(Table):
    """`[storage]`: where everything is kept that outlives a request."""

    url: SecretStr | None = Field(None, description=_EXPECTED_STORE)
    """None: a file for `serve`, the memory of the process for everything else.

    It may hold a password.
    """

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and (fault := _fault_of_address(url.get_secret_value())):
            raise ValueError(fault)
        return url

    @property
    def address(self) -> str:
        """The address of the store, `memory:` where none is configured."""
        return self.url.get_secret_value() if self.url is not None else MEMORY

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what this one keeps."""
        return self.address != MEMORY

    @property
    def redis(self) -> str | None:
        """The address of the Redis that several hosts share; None where the store is another."""
        return self.address if self.address.startswith(_REDIS) else None


def _fault_of_address(address: str) -> str | None:
    """Return what is wrong with a store's address, without quoting it: it may hold a password."""
    scheme = address.partition(":")[0]
    if address == MEMORY:
        return None
    if scheme == "sqlite":
        return None if re.fullmatch(r"sqlite:///[^?#]+", address) else _EXPECTED_FILE
    return _fault_of_redis_address(address) if address.startswith(_REDIS) else f"expected {_EXPECTED_STORE}"


def _fault_of_redis_address(address: str) -> str | None:
    """Describe what is wrong with `address`, without quoting it: it may hold a password.

    redis-py takes another database than the one that is meant where the path is no number, without
    a word.
    """
    scheme, _, _ = address.partition("://")
    try:
        parts = urlsplit(address)
    except ValueError:  # a broken IPv6 address
        return "expected the address of a Redis whose host can be read; an IPv6 address stands in brackets"
    try:
        is_port = parts.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        return (
            "expected the address of a Redis whose port is a number from 1 to 65535; `@`, `:`, `/`, `?` and `#` in a "
            "password are written as %40, %3A, %2F, %3F and %23"
        )
    if scheme == "unix":
        return None if parts.path.strip("/") else "expected the path of a socket, such as unix:///run/redis.sock"
    if not re.fullmatch(r"/?|/[0-9]{1,5}/?", parts.path):
        return "expected the address of a Redis whose path is the number of a database, such as /0"
    return None
