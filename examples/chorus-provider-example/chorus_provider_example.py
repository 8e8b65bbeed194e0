"""A provider for Chorus that answers "hello" to everything: the smallest upstream there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.provider import Provider
from chorus.llm.transport.clients import Clients


class Hello:
    """An upstream without a network."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`: entering sends the call, iterating reads the answer."""
        call.attempting(self._instance_id)
        yield self._answer()

    async def _answer(self) -> AsyncIterator[Chunk]:
        yield Chunk(text="hello")
        yield Chunk(finish_reason="stop")


def hello(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The provider `hello` (the entry point in pyproject.toml): the model `address` at one
    address.
    """
    instance_id = f"{address.name}@hello"
    return Provider(instance_id, Hello(instance_id))
