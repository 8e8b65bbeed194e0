"""`[worker]`: an inference worker, a process of its own beside the gateway (I1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator

from chorus.config.replicas import checked_key
from chorus.config.report import Report
from chorus.config.table import Count, Table
from chorus.discovery.agent import DEFAULT_ADDRESS, agent_of

PORT = "a port, a whole number from 0 to 65535"


class WorkerConfig(Table):
    """What `chorus worker` serves, and where. Flags and the environment outrank it."""

    model: str | None = Field(None, min_length=1, description="a folder, a file or an address")
    """What the engine loads."""
    name: str | None = Field(None, min_length=1, description="a name")
    """What the model is called on the wire."""
    engine: str | None = Field(None, min_length=1, description='an engine such as "llamacpp"')
    """None: the one that fits `model`."""
    host: str = Field("127.0.0.1", min_length=1, description='an address to listen on, such as "127.0.0.1"')
    port: int = Field(50051, ge=0, le=65535, description=PORT)
    """0: any that is free."""
    metrics_port: int = Field(8001, ge=0, le=65535, description=PORT)
    """On `host`. 0: any that is free."""
    max_concurrency: Count = Field(8, description="a whole number from 1")
    """Answers that are generated at a time."""
    max_waiting: Annotated[int, Field(ge=0)] = Field(64, description="a whole number from 0")
    """Requests that wait for one of them; more are refused."""
    drain_timeout_secs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        30, description="a number of seconds from 0"
    )
    """How long a worker that stops lets its answers go on."""
    consul: str | None = Field(
        None, min_length=1, description=f'the address of a Consul agent, such as "{DEFAULT_ADDRESS}"'
    )
    """Where the worker registers itself; None: nowhere."""
    consul_token: SecretStr | None = Field(None, description="a token of visible ASCII characters, a string")
    """None: CONSUL_HTTP_TOKEN."""
    advertise: str | None = Field(None, min_length=1, description="HOST or HOST:PORT, as others reach the worker")
    """None: where it listens."""
    chat_template: str | None = Field(None, min_length=1, description="a path")
    """A file with the Jinja template that takes the place of the model's own."""
    options: Mapping[str, Any] = Field(default_factory=dict, description="a table of the engine's options")

    @field_validator("consul")
    @classmethod
    def _check_consul(cls, address: str | None) -> str | None:
        return agent_of(address, environ={}).address if address is not None else None

    @field_validator("consul_token")
    @classmethod
    def _check_consul_token(cls, token: SecretStr | None) -> SecretStr | None:
        return checked_key(token)


def check_worker(document: Mapping[str, object], report: Report) -> WorkerConfig:
    """Return the table `[worker]` of `document`, good only where `report` stays empty."""
    table = report.interpolated(document.get("worker", {}), ("worker",))
    return report.check(WorkerConfig, table, ("worker",)) or WorkerConfig()


def beside(path: str, source: Path | None) -> Path:
    """Return a `path` of a configuration file, which is relative to the folder of that file."""
    expanded = Path(path).expanduser()
    return expanded if source is None else source.parent / expanded
