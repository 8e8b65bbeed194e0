"""Where a Consul agent is, as a configuration and Consul's own variables say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from chorus.secret_files import from_environment

DEFAULT_ADDRESS: Final = "http://127.0.0.1:8500"


@dataclass(frozen=True, slots=True)
class Agent:
    """A Consul agent: where it is, and what it is shown."""

    address: str = DEFAULT_ADDRESS
    token: str | None = field(default=None, repr=False)
    datacenter: str | None = None
    ca_file: str | None = None


def agent_of(
    address: str | None,
    token: str | None = None,
    datacenter: str | None = None,
    ca_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Agent:
    """Return the agent at `address`.

    An argument that is None comes from Consul's own variables, else from its defaults.

    Raises:
        ValueError: the address cannot be used, or the file of the token (CONSUL_HTTP_TOKEN_FILE, as
            Consul's own commands have it) cannot be read.
    """
    written = address or environ.get("CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS
    if "://" not in written:
        secure = environ.get("CONSUL_HTTP_SSL", "").strip().lower() in ("1", "true")
        written = f"{'https' if secure else 'http'}://{written}"
    parts = urlsplit(written)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment or not written.isprintable():
        raise ValueError(f'expected the http or https address of a Consul agent, such as "{DEFAULT_ADDRESS}"')
    return Agent(
        written.rstrip("/"),
        token or from_environment("CONSUL_HTTP_TOKEN", environ) or None,
        datacenter,
        ca_file or environ.get("CONSUL_CACERT") or None,
    )
