"""Replicas of a `[[model]]`, and what an address and a key may be (C4)."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from chorus.config.table import Table

HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_SCHEMES = frozenset({"http", "https", "grpc", "grpcs"})
_EXAMPLES = {
    "grpc": "grpc://localhost:50051",
    "anthropic": "https://api.anthropic.com/v1",
    "azure": "https://NAME.openai.azure.com",
}
"""Addresses of the providers that do not speak OpenAI's API at a base of one's own."""
DEFAULT_ADDRESSES = {"anthropic": "https://api.anthropic.com"}
"""Where a provider is that has one address for everybody, by its name."""


def as_replicas(value: object) -> object:
    """Strict validation takes no list, and a plain address is short for a table."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"api_base": replica} if isinstance(replica, str) else replica for replica in value)


class ReplicaConfig(Table):
    """One address that serves a model; a plain string is short for `{api_base = ...}`."""

    api_base: str = Field(description='an http or https address, such as "http://10.0.0.5:8000/v1"')
    api_key: SecretStr | None = Field(None, description="a key of visible ASCII characters, a string")
    """None: the model's own."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(1.0, description="a number above 0")

    @field_validator("api_base")
    @classmethod
    def _check_api_base(cls, address: str) -> str:
        check_address(address)
        return address.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, key: SecretStr | None) -> SecretStr | None:
        return checked_key(key)


def checked_key(key: SecretStr | None) -> SecretStr | None:
    # a key read from a file often ends in a line break, on which every request would fail
    text = key.get_secret_value().strip() if key else ""
    if not HEADER_VALUE.fullmatch(text):
        raise ValueError("expected a key of visible ASCII characters")
    return SecretStr(text) if text else None


def check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        is_usable = False
    if not is_usable or not address.isprintable() or " " in address:
        raise ValueError('expected an http or https address, such as "http://localhost:11434/v1"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected an address without user name and password; give them in `headers` or `api_key`")
    if parts.query or parts.fragment:
        raise ValueError("expected an address without `?` and `#`; Chorus appends paths to it")


def check_scheme(address: str, provider: str | None) -> None:
    """Refuse an address of another protocol than the provider's."""
    is_grpc = address.startswith(("grpc://", "grpcs://"))
    if provider is not None and is_grpc != (provider == "grpc"):
        kind = "a grpc or grpcs" if provider == "grpc" else "an http or https"
        raise ValueError(f'expected {kind} address, such as "{example_address(provider)}", for provider "{provider}"')


def example_address(provider: str) -> str:
    """Return an address such as `provider` may have."""
    return _EXAMPLES.get(provider, "http://localhost:11434/v1")
