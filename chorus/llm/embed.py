"""The protocol of upstreams that embed (A4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from chorus.llm.base import CONNECT_SECS, NO_HEADERS
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


class EmbedCall(msgspec.Struct, frozen=True):
    """What is asked of an embedder."""

    inputs: Sequence[EmbedInput]
    dimensions: int | None = None
    headers: Mapping[str, str] = NO_HEADERS
    connect_timeout: float = CONNECT_SECS
    priority: Priority = "default"
    """How it waits where the model is busy (K2)."""
    extra: Extra = NO_EXTRA
    """Other fields of the request, which go out as they are."""

    @property
    def characters(self) -> int:
        """How long its inputs are together."""
        return sum(map(len, self.inputs))


class Embedder(Protocol):
    """An upstream that embeds."""

    async def embed(self, call: EmbedCall) -> Embeddings:
        """Return the vectors of the inputs.

        Raises:
            QueueFull, QueueTimeout: the model answers as many calls as it may.
            UnsupportedFeature: it takes no token numbers.
            LLMError: the upstream failed, or answered another number of vectors than it was asked
                for.
        """
        ...
