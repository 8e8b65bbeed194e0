"""The provider `grpc` as a factory for the provider table.

It imports gRPC, an extra, for the first model that needs it.
"""

from __future__ import annotations

from chorus.errors import ConfigError, Problem
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.transport.clients import Clients

_PACKAGES = ("grpc", "grpc_health", "google")


def grpc(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address` of the inference worker at one address.

    Raises:
        ConfigError: a package of the extra is not installed, or the model cannot be reached in this
            way.
    """
    try:
        from chorus.llm.providers.grpc_worker import provider
    except ModuleNotFoundError as problem:
        if (problem.name or "").partition(".")[0] not in _PACKAGES:
            raise
        text = f"needs the package '{problem.name}': pip install 'chorus-llm[grpc]'"
        raise ConfigError([Problem(f'[[model]] "{address.name}" provider "grpc"', text)]) from None
    return provider(address, at, clients)
