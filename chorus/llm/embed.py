"""Embeddings: the second thing that some upstreams do, with a verb of its own (A4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.types import Priority
from chorus.usage import Usage


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order."""

    vectors: list[list[float]]
    usage: Usage = Usage()


class Embedder(Protocol):
    """An upstream that embeds."""

    async def embed(
        self, inputs: Sequence[str], *, dimensions: int | None, request_id: str, connect_timeout: float
    ) -> Embeddings:
        """The vectors of `inputs`.

        Raises:
            LLMError: the upstream failed, or answered another number of vectors than it was asked for.
        """
        ...


class QueuedEmbedder(Protocol):
    """What callers ask: an embedder behind the queue of its model."""

    async def embed(
        self,
        inputs: Sequence[str],
        *,
        dimensions: int | None,
        request_id: str,
        connect_timeout: float,
        priority: Priority,
    ) -> Embeddings:
        """The vectors of `inputs`, waiting with this `priority` where the model is busy (K2).

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
            LLMError: see `Embedder.embed`.
        """
        ...


def checked(vectors: list[list[float]], inputs: Sequence[str], name: str) -> list[list[float]]:
    """`vectors` when there is one for each of `inputs`.

    Raises:
        UpstreamProtocol: there is not; results would go to the wrong texts.
    """
    if len(vectors) != len(inputs):
        raise UpstreamProtocol(f"Upstream '{name}' sent {len(vectors)} embeddings for {len(inputs)} inputs")
    return vectors
