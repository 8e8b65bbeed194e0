"""`discovery` of a `[[model]]`: who knows where its replicas are (D2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from chorus.config.replicas import ReplicaConfig, as_replicas, check_address, checked_key
from chorus.config.table import Table
from chorus.discovery.agent import DEFAULT_ADDRESS, agent_of

_TYPES_OF_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("address", "service", "tag", "datacenter", "token", "ca_file", "wait_secs"), ("consul",)),
    **dict.fromkeys(("name", "port", "server"), ("dns",)),
    **dict.fromkeys(("api_base", "grace_secs"), ("consul", "dns")),
    "replicas": ("static",),
}
_API_BASES: Final[Mapping[str, str]] = {
    "openai": "http://{host}:{port}/v1",
    "responses": "http://{host}:{port}/v1",
    "ollama": "http://{host}:{port}",
    "anthropic": "http://{host}:{port}",
    "grpc": "grpc://{host}:{port}",
}
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")


class DiscoveryConfig(Table):
    """Who knows where the replicas are.

    Which keys there may be depends on `type`, which is read first.
    """

    type: Literal["consul", "dns", "static"] = Field(description='"consul", "dns" or "static"')
    address: str | None = Field(None, description=f'the address of a Consul agent, such as "{DEFAULT_ADDRESS}"')
    """None: CONSUL_HTTP_ADDR, else this machine's agent."""
    service: str | None = Field(None, min_length=1, max_length=200, description="the name of a service, a string")
    """None: `llm-` and the model's name."""
    tag: str | None = Field(None, min_length=1, description="a tag, a string")
    datacenter: str | None = Field(None, min_length=1, description="the name of a datacenter, a string")
    token: SecretStr | None = Field(None, description="a token of visible ASCII characters, a string")
    """None: CONSUL_HTTP_TOKEN."""
    ca_file: str | None = Field(None, min_length=1, description="a path of PEM certificates")
    """None: CONSUL_CACERT."""
    wait_secs: Annotated[float, Field(ge=1, le=600)] = Field(60, description="a number of seconds from 1 to 600")
    """How long Consul holds a question until there is a change."""
    name: str | None = Field(None, validate_default=True, description="a DNS name, a string")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="a port, a whole number from 1 to 65535"
    )
    """None: SRV records say."""
    server: str | None = Field(None, description='the address of a DNS server, such as "127.0.0.1:8600"')
    replicas: Annotated[tuple[ReplicaConfig, ...], BeforeValidator(as_replicas)] = Field(
        (), validate_default=True, description="a list of addresses, or of tables {api_base, api_key, weight}"
    )
    api_base: str | None = Field(
        None, description='an address with {host} and {port}, such as "http://{host}:{port}/v1"'
    )
    """What is made of a place that is found; None: what the provider is used to."""
    grace_secs: Annotated[float, Field(ge=0, le=86400)] = Field(60, description="a number of seconds from 0 to 86400")
    """How long the last list is kept when the source says that there is no instance."""

    def api_base_of(self, provider: str) -> str | None:
        """Return the address with {host} and {port}; None for a provider without a usual one."""
        return self.api_base or _API_BASES.get(provider)

    @field_validator(*_TYPES_OF_KEYS)
    @classmethod
    def _check_type_of_key(cls, value: object, info: ValidationInfo) -> object:
        kind = info.data.get("type")  # absent when it is wrong itself, which is reported
        # Pydantic 2.12 calls the field of a default by its table's name
        if value in (None, ()) or kind is None:
            return value
        types = _TYPES_OF_KEYS[info.field_name or ""]
        if kind not in types:
            raise ValueError(f'expected no such key with type "{kind}"; it belongs to {_either(types)}')
        return value

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        return agent_of(address, environ={}).address if address is not None else None

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        return checked_key(token)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("type") == "dns" and not name:
            raise ValueError('missing; type "dns" needs a name, such as "llm-glm.service.consul"')
        if name is not None and not _HOST_NAME.fullmatch(name):
            raise ValueError("expected a DNS name")
        return name

    @field_validator("server")
    @classmethod
    def _check_server(cls, server: str | None) -> str | None:
        if server is not None:
            host, colon, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
            try:
                ipaddress.ip_address(host)
                is_usable = not colon or 0 < int(port) < 65536
            except ValueError:
                is_usable = False
            if not is_usable:
                raise ValueError('expected the IP address of a DNS server, such as "127.0.0.1:8600"')
        return server

    @field_validator("replicas")
    @classmethod
    def _check_replicas(cls, replicas: tuple[ReplicaConfig, ...], info: ValidationInfo) -> tuple[ReplicaConfig, ...]:
        if info.data.get("type") == "static" and not replicas:
            raise ValueError('missing; type "static" needs a list of addresses')
        return replicas

    @field_validator("api_base")
    @classmethod
    def _check_api_base(cls, template: str | None) -> str | None:
        if template is None:
            return None
        if "{host}" not in template or "{port}" not in template:
            raise ValueError('expected an address with {host} and {port}, such as "http://{host}:{port}/v1"')
        check_address(template.replace("{host}", "localhost").replace("{port}", "1"))
        return template.rstrip("/")


def _either(types: tuple[str, ...]) -> str:
    return " or ".join(f'"{name}"' for name in types)
