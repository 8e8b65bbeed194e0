"""One call of one replica, up to its first chunk: until then another may take it (L4)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import anyio

from chorus.errors import LLMError, UpstreamProtocol, UpstreamTimeout
from chorus.llm.base import Call, Chunk
from chorus.llm.pool.breaker import Outcome, outcome_of
from chorus.llm.pool.replica import Replica, Turn


@dataclass(slots=True)
class Attempt:
    """A call of one replica whose first chunk has come."""

    turn: Turn
    opened: AbstractAsyncContextManager[AsyncIterator[Chunk]]
    chunks: AsyncIterator[Chunk]

    async def over(self, outcome: Outcome, problem: BaseException | None) -> None:
        """Close it; `problem` is why, where there is one."""
        self.turn.over(outcome, problem)
        await self.opened.__aexit__(type(problem) if problem is not None else None, problem, None)


async def begin(turn: Turn, *, call: Call) -> Attempt:
    """Ask the replica of `turn`, and read the first chunk.

    Raises:
        LLMError: there is none.
    """
    replica = turn.replica
    opened, limit = replica.upstream.open(call), None
    if call.first_token_timeout is not None:
        limit = anyio.CancelScope(deadline=anyio.current_time() + call.first_token_timeout)
        opened = _limited(opened, limit, replica, call.first_token_timeout)
    try:
        chunks, first = await _first_of(opened)
    except StopAsyncIteration:
        turn.over("failure")
        raise UpstreamProtocol(f"Upstream '{replica.instance_id}' ended without an answer") from None
    except BaseException as problem:
        turn.over(outcome_of(problem) if isinstance(problem, LLMError) else what_cutting_says(call), problem)
        raise
    if limit is not None:
        limit.deadline = math.inf
    turn.answered()
    return Attempt(turn, opened, _Peeked(first, chunks))


@asynccontextmanager
async def _limited(
    opened: AbstractAsyncContextManager[AsyncIterator[Chunk]], limit: anyio.CancelScope, replica: Replica, secs: float
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """`opened` within `limit`, which is left after it: an upstream may have scopes of its own open by then."""
    with limit:
        async with opened as chunks:
            yield chunks
    if limit.cancelled_caught:
        raise UpstreamTimeout(f"Upstream '{replica.instance_id}' did not begin its answer within {secs:g} s")


async def _first_of(
    opened: AbstractAsyncContextManager[AsyncIterator[Chunk]],
) -> tuple[AsyncIterator[Chunk], Chunk]:
    """Enter, and read the first chunk; what has none is left again."""
    chunks = await opened.__aenter__()
    try:
        return chunks, await anext(chunks)
    except BaseException as problem:
        await opened.__aexit__(type(problem), problem, problem.__traceback__)
        raise


def what_cutting_says(call: Call) -> Outcome:
    """What a cancelled call says of its replica: that it is too slow, where that was why."""
    return "failure" if call.timed_out() else "neutral"


class _Peeked:
    """Chunks of which the first has been read already."""

    def __init__(self, first: Chunk, rest: AsyncIterator[Chunk]) -> None:
        self._first: Chunk | None = first
        self._rest = rest

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Chunk]:
        if self._first is None:
            return self._rest.__anext__()
        return self._take()

    async def _take(self) -> Chunk:
        first, self._first = self._first, None
        assert first is not None
        return first
