"""The replicas of one model as one upstream: chosen by load, left alone when they fail, and retries until the first
piece of the answer is delivered (D1, D3, L4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, Self, TypeVar

import anyio

from chorus.clock import running_clock
from chorus.errors import LLMError, UpstreamUnavailable
from chorus.llm.address import Balance
from chorus.llm.base import Call, Chunk
from chorus.llm.embed import NO_EXTRA, Embeddings, EmbedInput
from chorus.llm.pool.attempt import Attempt, begin, what_cutting_says
from chorus.llm.pool.balance import Balancer
from chorus.llm.pool.breaker import outcome_of
from chorus.llm.pool.replica import Replica, Turn
from chorus.llm.pool.retry import RetryBudget, is_retryable, pause
from chorus.types import Extra

T = TypeVar("T")

_MAX_SESSIONS: Final = 10_000
"""Sessions whose replica is remembered; those that were away longest are forgotten."""


@dataclass(slots=True)
class _Tries:
    """The attempts of one request: the replicas that were asked, in order, and those of them that failed."""

    replicas: list[Replica] = field(default_factory=list)
    failed: list[Replica] = field(default_factory=list)

    def took(self, replica: Replica, error: LLMError) -> None:
        """Note what came of an attempt."""
        if outcome_of(error) == "failure":
            self.failed.append(replica)


class Pool:
    """An upstream over others. A call tries up to `attempts` times, each replica that has not been tried first."""

    def __init__(
        self,
        name: str,
        replicas: Sequence[Replica],
        *,
        balance: Balance = "least_load",
        attempts: int = 3,
        rng: Random | None = None,
    ) -> None:
        self._name = name
        self.replicas = tuple(replicas)
        self._balancer = Balancer(balance)
        self._attempts = attempts
        self._rng = rng or Random()
        self._budget = RetryBudget()
        self._sessions: OrderedDict[str, Replica] = OrderedDict()

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The first chunk has been read when the block begins: until then another replica may take
        the call, after it only where the answer may begin again (`Call.on_restart`).

        Raises:
            UpstreamUnavailable: several replicas were tried, and none answered.
            LLMError: the only one failed.
        """
        return _Answering(self, call)

    async def first(self, call: Call, tried: _Tries) -> Attempt:
        """The beginning of the answer to `call`.

        Raises:
            LLMError: nobody answered.
        """
        return await self._first_that_works(call.session, partial(begin, call=call), tried)

    async def again(self, call: Call, tried: _Tries, error: LLMError) -> Attempt:
        """The answer from its beginning, after it broke off with `error`.

        Raises:
            LLMError: it is not to be tried again, or nobody answered.
        """
        tried.took(tried.replicas[-1], error)
        await self._pause_after(error, call.session, tried.replicas, running_clock()())
        return await self.first(call, tried)

    async def embed(
        self,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        request_id: str,
        connect_timeout: float,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """See `Embedder.embed`."""

        async def ask(turn: Turn) -> Embeddings:
            assert turn.replica.embedder is not None
            with turn:
                return await turn.replica.embedder.embed(
                    inputs,
                    dimensions=dimensions,
                    request_id=request_id,
                    connect_timeout=connect_timeout,
                    extra=extra,
                )

        return await self._first_that_works(None, ask, _Tries())

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float
    ) -> list[float]:
        """See `Reranker.rerank`."""

        async def ask(turn: Turn) -> list[float]:
            assert turn.replica.reranker is not None
            with turn:
                return await turn.replica.reranker.rerank(
                    query, documents, request_id=request_id, connect_timeout=connect_timeout
                )

        return await self._first_that_works(None, ask, _Tries())

    async def _first_that_works(self, session: str | None, ask: Callable[[Turn], Awaitable[T]], tried: _Tries) -> T:
        """The first result that a replica gives; attempts are added to `tried`. The others that failed are to blame
        then, since the request is not."""
        clock = running_clock()
        if not tried.replicas:
            self._budget.called(clock())
        while True:
            replica = self._choose(session, tried.replicas, clock())
            turn = Turn(replica, clock, again=replica in tried.failed)
            tried.replicas.append(replica)
            try:
                result = await ask(turn)
            except LLMError as error:
                tried.took(replica, error)
                await self._pause_after(error, session, tried.replicas, clock())
            else:
                for each in tried.failed:
                    if each is not replica:
                        each.breaker.blame(clock())
                self._remember(session, replica)
                return result

    async def _pause_after(self, error: LLMError, session: str | None, tried: Sequence[Replica], now: float) -> None:
        """Wait until the next attempt. Raises what the caller is told when there is to be none."""
        wait = self._wait(error, tried, now)
        if wait is None:
            self._sessions.pop(session or "", None)
            raise self._final(error, tried) from None
        await anyio.sleep(wait)

    def _choose(self, session: str | None, tried: Sequence[Replica], now: float) -> Replica:
        """Whom to ask: the session's own replica, else the best of those that have not been tried and that are well; one
        whose quarantine is over is probed first; the least bad one when all are quarantined."""
        if len(self.replicas) == 1:
            return self.replicas[0]
        own = self._sessions.get(session) if session else None
        if own is not None and own not in tried and own.breaker.admits(now):
            return own
        fresh = [place for place, each in enumerate(self.replicas) if each not in tried]
        among = fresh or list(range(len(self.replicas)))
        well = [place for place in among if self.replicas[place].breaker.admits(now)]
        if not well:
            return min((self.replicas[place] for place in among), key=lambda each: each.breaker.retry_in(now))
        probe = next((place for place in well if self.replicas[place].breaker.state(now) == "half_open"), None)
        return self.replicas[probe if probe is not None else self._balancer.choose(self.replicas, well, now)]

    def _wait(self, error: LLMError, tried: Sequence[Replica], now: float) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        if len(tried) >= self._attempts or not is_retryable(error) or not self._budget.allows(now):
            return None
        if any(each not in tried for each in self.replicas):
            return 0.0
        return pause(error, len(tried), self._rng)

    def _final(self, error: LLMError, tried: Sequence[Replica]) -> LLMError:
        """What the caller is told: the only replica's own words, or that none of several is to be had."""
        count = len(set(tried))
        if count > 1 and is_retryable(error):
            error = UpstreamUnavailable(
                f"None of {count} replicas of '{self._name}' answered; the last one: {error.log_message}"
            )
        if len(tried) > 1:
            error.retryable_by_client = False
        return error

    def _remember(self, session: str | None, replica: Replica) -> None:
        """The session stays with this replica, or moves to it (D3)."""
        if session and len(self.replicas) > 1:
            self._sessions[session] = replica
            self._sessions.move_to_end(session)
            if len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)


class _Answering(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """A call of a pool while it is answered. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_call", "_first", "_pool", "_restartable")

    def __init__(self, pool: Pool, call: Call) -> None:
        self._pool = pool
        self._call = call
        self._first: Attempt | None = None
        self._restartable: _RestartableStream | None = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        tried = _Tries()
        first = self._first = await self._pool.first(self._call, tried)
        if self._call.on_restart is None:
            return first.chunks
        self._restartable = _RestartableStream(self._pool, self._call, first, tried)
        return self._restartable

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        last = self._restartable.attempt if self._restartable is not None else self._first
        if last is None:
            return
        if error is None:
            await last.over("success", None)
        elif isinstance(error, LLMError):
            await last.over(outcome_of(error), error)
        else:
            await last.over(what_cutting_says(self._call), error)


class _RestartableStream:
    """The chunks of an answer of which nothing is delivered yet. A stream that breaks off begins again at another replica."""

    def __init__(self, pool: Pool, call: Call, first: Attempt, tried: _Tries) -> None:
        self._pool = pool
        self._call = call
        self._tried = tried
        self.attempt: Attempt | None = first
        """None while there is none."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            attempt, on_restart = self.attempt, self._call.on_restart
            assert attempt is not None
            assert on_restart is not None
            try:
                return await attempt.chunks.__anext__()
            except LLMError as error:
                self.attempt = None
                await attempt.over(outcome_of(error), error)
                self.attempt = await self._pool.again(self._call, self._tried, error)
                on_restart()
