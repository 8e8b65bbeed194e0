"""Embedding requests of many callers as few upstream calls (K3).

Which requests are merged is decided elsewhere (`Batches`; `admission` has one). Here: one call for
a batch, each caller's vectors out of it, and what becomes of the others when one of them sent
something that the upstream refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import Final, Protocol

import anyio
import msgspec

from chorus.errors import ChorusError, UpstreamRefused
from chorus.llm.embed import EmbedCall, Embedder, Embeddings
from chorus.types import PRIORITIES
from chorus.usage import Usage

_ONE_BY_ONE: Final = 4
"""So few callers are asked for singly after a refusal.

Halving on would take as many calls, one after another.
"""


class PendingEmbedding(Protocol):
    """A request whose caller waits."""

    @property
    def item(self) -> EmbedCall:
        """What is asked for."""
        ...

    @property
    def is_wanted(self) -> bool:
        """Whether the caller is still there."""
        ...

    def settle(self, outcome: Embeddings | ChorusError) -> None:
        """Give the caller its vectors, or the error to be raised."""
        ...


class Batches(Protocol):
    """Gathers requests."""

    async def submit(self, item: EmbedCall, *, key: Hashable, size: int) -> Embeddings:
        """Return what comes of `item`.

        Those of one `key` may be merged; `size` counts its inputs.
        """
        ...


Work = Callable[[Sequence[PendingEmbedding]], Awaitable[None]]


class BatchedEmbedder:
    """An embedder that holds another and asks it for several callers at once."""

    def __init__(self, inner: Embedder, batches: Callable[[Work], Batches]) -> None:
        """`batches` gets the function that answers a batch of requests."""
        self._inner = inner
        self._batches = batches(self._settle)

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`.

        A call for several carries the headers of the first of them, and waits with the priority of
        the most urgent one: the others lose nothing by it. One with token numbers or with other
        fields is a call of its own.
        """
        if call.extra or not all(isinstance(text, str) for text in call.inputs):
            return await self._inner.embed(call)
        return await self._batches.submit(call, key=call.dimensions, size=len(call.inputs))

    async def _settle(self, requests: Sequence[PendingEmbedding]) -> None:
        """Settle `requests` by one call, or by several smaller ones.

        Several where an upstream refuses what one of them holds.

        For n requests these are fewer than 2 n calls, even when every single one is refused.
        """
        wanted = [request for request in requests if request.is_wanted]
        if not wanted:
            return
        first = wanted[0].item
        try:
            embeddings = await self._inner.embed(
                msgspec.structs.replace(
                    first,
                    inputs=[text for request in wanted for text in request.item.inputs],
                    priority=min((request.item.priority for request in wanted), key=PRIORITIES.index),
                )
            )
        except ChorusError as error:
            if len(wanted) == 1:
                wanted[0].settle(error)
            elif isinstance(error, UpstreamRefused):
                async with anyio.create_task_group() as group:
                    for smaller in _smaller(wanted):
                        group.start_soon(self._settle, smaller)
            else:
                for request in wanted:
                    request.settle(error.for_another())
            return
        parts = _shared_out(embeddings, [request.item for request in wanted])
        for request, part in zip(wanted, parts, strict=True):
            request.settle(part)


def _smaller(requests: Sequence[PendingEmbedding]) -> list[Sequence[PendingEmbedding]]:
    """Return what is asked for separately after a refusal: halves, in the end single requests."""
    if len(requests) <= _ONE_BY_ONE:
        return [[request] for request in requests]
    middle = len(requests) // 2
    return [requests[:middle], requests[middle:]]


def _shared_out(embeddings: Embeddings, requests: Sequence[EmbedCall]) -> list[Embeddings]:
    """Return the vectors of each of `requests`, and its share of the tokens by its length."""
    if len(requests) == 1:
        return [embeddings]
    ends = list(accumulate((len(request.inputs) for request in requests), initial=0))
    tokens = shares(embeddings.usage.prompt_tokens, [request.characters for request in requests])
    return [
        Embeddings(embeddings.vectors[begin:end], Usage(share))
        for begin, end, share in zip(ends, ends[1:], tokens, strict=False)
    ]


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts in proportion to `weights`, each off by less than one.

    Their sum is `total`. Equal parts where all weights are 0.
    """
    if not any(weights):
        weights = [1] * len(weights)
    ends = [total * end // sum(weights) for end in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(ends)]
