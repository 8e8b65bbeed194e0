"""`[limits]` and `[storage]`: how much may be asked, and where it is counted (K1, M2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from chorus.config.table import Table
from chorus.rate import EXPECTED, Rate, rate


def _as_rates(value: object) -> object:
    """One rate, or a list of them."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return tuple(map(rate, texts))
    return value


Rates = Annotated[tuple[Rate, ...], BeforeValidator(_as_rates)]
_DESCRIPTION = f"{EXPECTED}, or a list of rates"


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


class StorageConfig(Table):
    """`[storage]`: what several processes share."""

    url: SecretStr | None = Field(None, description='the address of a Redis, such as "redis://127.0.0.1:6379/0"')
    """None: everything is kept in this process. It may hold a password."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError('expected the address of a Redis, such as "redis://127.0.0.1:6379/0"')
        return url
