"""The replicas of one model as one upstream: chosen by load, left alone when they fail, tried again before the first byte
(D1, D3, L4)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Self, TypeVar

import anyio

from chorus.clock import running_clock
from chorus.errors import LLMError, UpstreamProtocol, UpstreamTimeout, UpstreamUnavailable
from chorus.llm.balance import Balance, Balancer, smoothed
from chorus.llm.base import Call, Chunk, Upstream
from chorus.llm.breaker import Breaker, Outcome, outcome_of
from chorus.llm.embed import Embedder, Embeddings
from chorus.llm.health import Health
from chorus.llm.rerank import Reranker
from chorus.llm.retry import RetryBudget, is_retryable, pause

T = TypeVar("T")

_MAX_SESSIONS: Final = 10_000
"""Sessions whose replica is remembered; those that were away longest are forgotten."""


@dataclass(eq=False, slots=True)
class Replica:
    """One address of a model, and what is known of it."""

    instance_id: str
    upstream: Upstream
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    weight: float = 1.0
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    calls: int = 0
    errors: int = 0
    latency: float | None = None
    health: Health | None = None
    """Its checks, where there are any (D4)."""

    def ailing(self, now: float) -> int:
        """Failures in a row, while they are recent."""
        return self.breaker.ailing(now)

    def told(self, now: float) -> dict[str, Any]:
        """This replica as `GET /api/v1/upstreams` shows it (D4)."""
        return {
            "instance_id": self.instance_id,
            "state": self.breaker.state(now),
            "retry_in_secs": round(self.breaker.retry_in(now), 1),
            "in_flight": self.in_flight,
            "calls": self.calls,
            "errors": self.errors,
            "failures_in_a_row": self.breaker.failures,
            "first_byte_ms": round(self.latency * 1000, 1) if self.latency is not None else None,
            "weight": self.weight,
            "last_check": self.health.last.told(now) if self.health is not None and self.health.last else None,
        }


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

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The first chunk has been read when the block begins: until then another replica may take
        the call, after it none may.

        Raises:
            UpstreamUnavailable: several replicas were tried, and none answered.
            LLMError: the only one failed.
        """
        begun = await self._first_that_works(call.session, lambda replica: _begin(replica, call))
        outcome: Outcome = "neutral"
        problem: BaseException | None = None
        try:
            yield begun.chunks
            outcome = "success"
        except LLMError as error:
            outcome, problem = outcome_of(error), error
            raise
        except BaseException as error:
            outcome, problem = _cut(call), error
            raise
        finally:
            begun.turn.over(outcome)
            await begun.opened.__aexit__(type(problem) if problem is not None else None, problem, None)

    async def embed(
        self, inputs: Sequence[str], *, dimensions: int | None, request_id: str, connect_timeout: float
    ) -> Embeddings:
        """See `Embedder.embed`."""

        async def ask(replica: Replica) -> Embeddings:
            assert replica.embedder is not None
            with _Turn(replica):
                return await replica.embedder.embed(
                    inputs, dimensions=dimensions, request_id=request_id, connect_timeout=connect_timeout
                )

        return await self._first_that_works(None, ask)

    async def rerank(
        self, query: str, documents: Sequence[str], *, request_id: str, connect_timeout: float
    ) -> list[float]:
        """See `Reranker.rerank`."""

        async def ask(replica: Replica) -> list[float]:
            assert replica.reranker is not None
            with _Turn(replica):
                return await replica.reranker.rerank(
                    query, documents, request_id=request_id, connect_timeout=connect_timeout
                )

        return await self._first_that_works(None, ask)

    async def _first_that_works(self, session: str | None, ask: Callable[[Replica], Awaitable[T]]) -> T:
        """What the first replica says that says anything."""
        clock = running_clock()
        self._budget.called(clock())
        tried: list[Replica] = []
        while True:
            replica = self._choose(session, tried, clock())
            tried.append(replica)
            try:
                found = await ask(replica)
            except LLMError as error:
                wait = self._wait(error, tried, clock())
                if wait is None:
                    self._sessions.pop(session or "", None)
                    raise self._final(error, tried) from None
                await anyio.sleep(wait)
            else:
                self._remember(session, replica)
                return found

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


class _Turn:
    """One call of one replica, in its counters. A `with` block around a whole call ends it by what comes of it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._clock = running_clock()
        self._began = self._clock()
        self._is_probe = replica.breaker.begin(self._began)
        replica.in_flight += 1
        replica.calls += 1

    def answered(self) -> None:
        """The first byte is there."""
        self._replica.latency = smoothed(self._replica.latency, self._clock() - self._began)

    def over(self, outcome: Outcome) -> None:
        """The call is over."""
        self._replica.in_flight -= 1
        self._replica.errors += outcome == "failure"
        self._replica.breaker.end(outcome, self._clock(), is_probe=self._is_probe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.answered()
            self.over("success")
        else:
            self.over(outcome_of(error) if isinstance(error, LLMError) else "neutral")


@dataclass(slots=True)
class _Begun:
    """A call whose first chunk has come. Leaving `opened` closes it."""

    turn: _Turn
    opened: AbstractAsyncContextManager[AsyncIterator[Chunk]]
    chunks: AsyncIterator[Chunk]


async def _begin(replica: Replica, call: Call) -> _Begun:
    """Ask `replica`, and read the first chunk.

    Raises:
        LLMError: there is none.
    """
    turn, opened, limit = _Turn(replica), replica.upstream.open(call), None
    if call.first_token_timeout is not None:
        limit = anyio.CancelScope(deadline=anyio.current_time() + call.first_token_timeout)
        opened = _limited(opened, limit, replica, call.first_token_timeout)
    try:
        chunks, first = await _first_of(opened)
    except BaseException as problem:
        error: BaseException = problem
        if isinstance(problem, StopAsyncIteration):
            error = UpstreamProtocol(f"Upstream '{replica.instance_id}' ended without an answer")
        turn.over(outcome_of(error) if isinstance(error, LLMError) else _cut(call))
        if error is problem:
            raise
        raise error from None
    if limit is not None:
        limit.deadline = math.inf
    turn.answered()
    return _Begun(turn, opened, _Peeked(first, chunks))


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


def _cut(call: Call) -> Outcome:
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
