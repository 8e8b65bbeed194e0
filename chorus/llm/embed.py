"""Embeddings: the second thing that some upstreams do, with a verb of its own (A4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chorus.errors import UpstreamProtocol
from chorus.usage import Usage


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order."""

    vectors: list[list[float]]
    usage: Usage = Usage()


class Embedder(Protocol):
    """Something that embeds."""

    async def embed(
        self, inputs: Sequence[str], *, dimensions: int | None, request_id: str, connect_timeout: float
    ) -> Embeddings:
        """The vectors of `inputs`.

        Raises:
            LLMError: the upstream failed, or answered another number of vectors than it was asked for.
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
