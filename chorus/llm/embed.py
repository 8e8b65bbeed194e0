"""The protocol of upstreams that embed (A4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from chorus.types import Extra, Priority
from chorus.usage import Usage

EmbedInput = str | list[int]
"""A text, or its tokens as numbers of the model's own, which only OpenAI-compatible upstreams
take.
"""

NO_EXTRA: Final[Extra] = {}


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order."""

    vectors: list[list[float]]
    usage: Usage = Usage()


class Embedder(Protocol):
    """An upstream that embeds."""

    async def embed(
        self,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        headers: Mapping[str, str],
        connect_timeout: float,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """The vectors of `inputs`.

        `extra` holds other fields of the request, which go out as they are.

        Raises:
            UnsupportedFeature: it takes no token numbers.
            LLMError: the upstream failed, or answered another number of vectors than it was asked
                for.
        """
        ...


class QueuedEmbedder(Protocol):
    """What callers ask: an embedder behind the queue of its model."""

    async def embed(
        self,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        headers: Mapping[str, str],
        connect_timeout: float,
        priority: Priority,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """The vectors of `inputs`, waiting with this `priority` where the model is busy (K2).

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
            LLMError: see `Embedder.embed`.
        """
        ...
