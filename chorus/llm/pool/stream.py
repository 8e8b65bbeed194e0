"""The streamed answer of a pool: one attempt that has begun, and its restart at another replica
(L4).

Until the first chunk has come another replica may take the call. After it only a call may be taken
of which nothing has been delivered (`Call.on_restart`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, Self

import anyio

from chorus.errors import LLMError, UpstreamProtocol, UpstreamTimeout
from chorus.llm.base import Call, Chunk
from chorus.llm.pool.attempt import Attempt, Attempts
from chorus.llm.pool.breaker import Outcome, outcome_of
from chorus.llm.pool.replica import Replica

Chunks = AsyncIterator[Chunk]


@dataclass(slots=True)
class OpenStream:
    """An attempt whose first chunk has come."""

    attempt: Attempt
    opened: AbstractAsyncContextManager[Chunks]
    chunks: Chunks

    async def close(self, outcome: Outcome, error: BaseException | None) -> None:
        """End the attempt and close its connection; `error` is why, where there is one."""
        self.attempt.end(outcome, error)
        await self.opened.__aexit__(type(error) if error is not None else None, error, None)


async def open_stream(attempt: Attempt, call: Call) -> OpenStream:
    """Send `call` to the replica of `attempt` and return the answer when its first chunk has come.

    Raises:
        LLMError: no chunk came. The attempt has ended.
    """
    replica = attempt.replica
    opened, limit = replica.upstream.open(call), None
    if call.first_token_timeout is not None:
        limit = anyio.CancelScope(deadline=anyio.current_time() + call.first_token_timeout)
        opened = _limited(opened, limit, replica, call.first_token_timeout)
    try:
        chunks, first = await _first_chunk(opened)
    except StopAsyncIteration:
        attempt.end("failure")
        raise UpstreamProtocol(f"Upstream '{replica.instance_id}' ended without an answer") from None
    except BaseException as error:
        attempt.end(_outcome(error, call), error)
        raise
    if limit is not None:
        limit.deadline = math.inf
    attempt.answered()
    return OpenStream(attempt, opened, _Peeked(first, chunks))


def _outcome(error: BaseException, call: Call) -> Outcome:
    """Return what an exception says of the replica.

    A cancellation says that it is too slow where a time limit was why, and nothing where the client
    left.
    """
    if isinstance(error, LLMError):
        return outcome_of(error)
    return "failure" if call.timed_out() else "neutral"


@asynccontextmanager
async def _limited(
    opened: AbstractAsyncContextManager[Chunks], limit: anyio.CancelScope, replica: Replica, secs: float
) -> AsyncIterator[Chunks]:
    """`opened` within `limit`, which is left after it: an upstream may have scopes of its own
    open."""
    with limit:
        async with opened as chunks:
            yield chunks
    if limit.cancelled_caught:
        raise UpstreamTimeout(f"Upstream '{replica.instance_id}' did not begin its answer within {secs:g} s")


async def _first_chunk(opened: AbstractAsyncContextManager[Chunks]) -> tuple[Chunks, Chunk]:
    """Enter `opened` and read the first chunk; it is left again where there is none."""
    chunks = await opened.__aenter__()
    try:
        return chunks, await anext(chunks)
    except BaseException as error:
        await opened.__aexit__(type(error), error, error.__traceback__)
        raise


class _Peeked:
    """Chunks of which the first has been read already."""

    def __init__(self, first: Chunk, rest: Chunks) -> None:
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


class Opener(Protocol):
    """The pool, as its answers use it."""

    async def start(self, call: Call, attempts: Attempts) -> OpenStream:
        """Return the answer of the first replica that gives one.

        Raises LLMError where none does.
        """
        ...

    async def restart(self, call: Call, attempts: Attempts, error: LLMError) -> OpenStream:
        """Return the same after the last attempt broke off with `error`."""
        ...


class PooledAnswer(AbstractAsyncContextManager[Chunks]):
    """`Pool.open`: a call while it is answered. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_call", "_pool", "_restartable", "_stream")

    def __init__(self, pool: Opener, call: Call) -> None:
        self._pool = pool
        self._call = call
        self._stream: OpenStream | None = None
        self._restartable: _RestartableStream | None = None

    async def __aenter__(self) -> Chunks:
        attempts = Attempts()
        stream = self._stream = await self._pool.start(self._call, attempts)
        if self._call.on_restart is None:
            return stream.chunks
        self._restartable = _RestartableStream(self._pool, self._call, stream, attempts)
        return self._restartable

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        stream = self._restartable.stream if self._restartable is not None else self._stream
        if stream is not None:
            await stream.close("success" if error is None else _outcome(error, self._call), error)


class _RestartableStream:
    """The chunks of an answer of which nothing is delivered yet. One that breaks off begins again
    at another replica."""

    def __init__(self, pool: Opener, call: Call, stream: OpenStream, attempts: Attempts) -> None:
        self._pool = pool
        self._call = call
        self._attempts = attempts
        self.stream: OpenStream | None = stream
        """None while there is none."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            stream, on_restart = self.stream, self._call.on_restart
            assert stream is not None
            assert on_restart is not None
            try:
                return await stream.chunks.__anext__()
            except LLMError as error:
                self.stream = None
                await stream.close(outcome_of(error), error)
                self.stream = await self._pool.restart(self._call, self._attempts, error)
                on_restart()
