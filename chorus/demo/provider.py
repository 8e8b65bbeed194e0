"""The demo models as a factory for the provider table."""

from __future__ import annotations

from chorus.demo.upstream import DemoUpstream
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.pool.replica import Replica
from chorus.llm.transport.clients import Clients


def demo(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Replica:
    """The demo model of `address`; it needs no client."""
    return Replica("demo", DemoUpstream(address.name, model=address.model or address.name), weight=at.weight)
