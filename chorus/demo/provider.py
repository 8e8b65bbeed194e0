"""The demo models as a factory for the provider table."""

from __future__ import annotations

from chorus.demo.upstream import DemoUpstream
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.provider import Provider
from chorus.llm.transport.clients import Clients


def demo(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The demo model of `address`; it needs no client."""
    return Provider("demo", DemoUpstream(address.name, model=address.model or address.name))
