"""The replicas of one model as one upstream: chosen by load, quarantined while they fail, with
retries until the first piece of the answer is delivered (D1, D3, L4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random
from typing import TypeVar

import anyio

from chorus.clock import running_clock
from chorus.errors import LLMError, UpstreamUnavailable
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.pool.attempt import Attempt, Attempts
from chorus.llm.pool.balance import Balancer
from chorus.llm.pool.relay import OpenRelay, PooledRelay, open_relay
from chorus.llm.pool.replica import Replica
from chorus.llm.pool.retry import RetryBudget, is_retryable, pause
from chorus.llm.pool.sessions import Sessions, SharedSessions
from chorus.llm.pool.stream import OpenStream, PooledAnswer, open_stream
from chorus.llm.relay import RelayAnswer, RelayCall
from chorus.llm.rerank import RerankCall
from chorus.types import Balance, ChatRequest

T = TypeVar("T")

_Place = tuple[str, str | None]
"""What tells replicas of one model apart: address and key. Their instance ids do not, since a model
may be reached by two keys at one host."""


def _place(address: ReplicaAddress) -> _Place:
    return address.api_base, address.api_key


def _names(places: Sequence[_Place]) -> list[str]:
    """Return names of the replicas that are the same at every process with this configuration, and
    hold no key: an address, and which one of those with this address.
    """
    bases = [base for base, _ in places]
    return [f"{base}#{bases[:position].count(base)}" for position, base in enumerate(bases)]


class Pool:
    """An upstream over others. A call has up to `max_attempts`, at replicas that it has not tried
    first."""

    def __init__(
        self,
        name: str,
        connect: Callable[[ReplicaAddress], Replica],
        addresses: Sequence[ReplicaAddress],
        *,
        balance: Balance = "least_load",
        max_attempts: int = 3,
        rng: Random | None = None,
    ) -> None:
        """`connect` makes the replica at an address, without a connection yet; what it raises, this
        raises."""
        self._name = name
        self._connect = connect
        self.addresses: tuple[ReplicaAddress, ...] = ()
        """Those of `replicas`, in their order."""
        self.why_none: Callable[[], str] = lambda: f"No instance of '{name}' is known"
        """Why there is no replica where there is none: a sentence for who asks for the model."""
        self.replicas: tuple[Replica, ...] = ()
        self._balancer = Balancer(balance)
        self._max_attempts = max_attempts
        self._rng = rng or Random()
        self._budget = RetryBudget()
        self._sessions = Sessions()
        self.shared_sessions: SharedSessions | None = None
        """Of all processes, where there are several."""
        self.update(addresses)

    def update(self, addresses: Sequence[ReplicaAddress]) -> None:
        """Have the replicas at `addresses` from the next attempt on.

        Without any, calls fail at once.

        A replica whose address and key stay is the same as before: with its breaker, its lessons,
        its counters and the calls in flight, and with the weight that its address has now. A call
        at a replica that is gone ends there; a session that stayed with one moves on.

        Raises:
            ConfigError: an address cannot be used; the replicas are those of before.
        """
        known = list(zip(map(_place, self.addresses), self.replicas, strict=True))
        places, replicas = [_place(address) for address in addresses], []
        for place, address in zip(places, addresses, strict=True):
            kept = next((entry for entry in known if entry[0] == place), None)
            if kept is not None:
                known.remove(kept)  # an address may be listed twice
            replicas.append(kept[1] if kept is not None else self._connect(address))
        for replica, address in zip(replicas, addresses, strict=True):
            replica.weight = address.weight
        self.addresses, self.replicas = tuple(addresses), tuple(replicas)
        self._sessions.keep_only(replicas)

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`. The first chunk has been read when the block begins: until then
        another replica may take the call, after it only where the answer may begin again
        (`Call.on_restart`).

        Raises:
            UpstreamUnavailable: several replicas were tried, and none answered.
            LLMError: the only one failed.
        """
        return PooledAnswer(self, call)

    async def count_tokens(self, request: ChatRequest, *, connect_timeout: float) -> int | None:
        """Return how many tokens the prompt of `request` has, as a replica that works counts them.

        None where none can.

        Raises:
            LLMError: it could not say.
        """
        now = running_clock()()
        for replica in self.replicas:
            if replica.count_tokens is not None and replica.breaker.state(now) != "open":
                return await replica.count_tokens(request, connect_timeout)
        return None

    async def start(self, call: Call, attempts: Attempts) -> OpenStream:
        """Return the answer of the first replica that gives one.

        Raises:
            LLMError: no replica answered.
        """
        return await self._first_that_works(call.session, partial(open_stream, call=call), attempts)

    async def restart(self, call: Call, attempts: Attempts, error: LLMError) -> OpenStream:
        """Return the answer from its beginning, after the last attempt broke off with `error`.

        Raises:
            LLMError: it is not to be tried again, or no replica answered.
        """
        attempts.note_failure(error)
        await self._wait_for_next(error, attempts, call.session)
        return await self.start(call, attempts)

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""

        async def ask(attempt: Attempt) -> Embeddings:
            assert attempt.replica.embedder is not None
            with attempt:
                return await attempt.replica.embedder.embed(call)

        return await self._first_that_works(None, ask, Attempts())

    async def rerank(self, call: RerankCall) -> list[float]:
        """See `Reranker.rerank`."""

        async def ask(attempt: Attempt) -> list[float]:
            assert attempt.replica.reranker is not None
            call.attempting(attempt.replica.instance_id)
            with attempt:
                return await attempt.replica.reranker.rerank(call)

        return await self._first_that_works(None, ask, Attempts())

    def relay(self, call: RelayCall) -> AbstractAsyncContextManager[RelayAnswer]:
        """See `Relay.open`.

        The first bytes of the answer have been read when the block begins: until then another
        replica may take the call, where its body can be sent again.
        """
        return PooledRelay(self, call)

    async def start_relay(self, call: RelayCall, attempts: Attempts) -> OpenRelay:
        """Return the answer of the first replica that begins one.

        Raises:
            NotAgain: the body is gone, and no answer has begun.
            LLMError: no replica answered.
        """
        return await self._first_that_works(None, partial(open_relay, call=call), attempts)

    async def _first_that_works(
        self, session: str | None, ask: Callable[[Attempt], Awaitable[T]], attempts: Attempts
    ) -> T:
        """Return the first successful result. `attempts` lists those that were made; new ones are
        added."""
        clock = running_clock()
        if not attempts.replicas:
            self._budget.called(clock())
            if session and self.shared_sessions is not None and len(self.replicas) > 1:
                await self._find_session(session, self.shared_sessions)
        while True:
            replica = self._choose(session, attempts, clock())
            try:
                result = await ask(attempts.begin(replica, clock))
            except LLMError as error:
                attempts.note_failure(error)
                await self._wait_for_next(error, attempts, session)
            else:
                attempts.note_success(clock())
                if session and len(self.replicas) > 1 and replica in self.replicas:
                    self._keep_session(session, replica)
                return result

    async def _find_session(self, session: str, shared: SharedSessions) -> None:
        """Let a session that this process does not know stay with the replica that it has at
        another one."""
        if self._sessions.replica_of(session) is not None:
            return
        name = await shared.find(session, self._name)
        if name is not None and self._sessions.replica_of(session) is None:
            for place, replica in zip(self._names(), self.replicas, strict=True):
                if place == name:
                    self._sessions.keep(session, replica)

    def _keep_session(self, session: str, replica: Replica) -> None:
        """Let `session` stay with `replica`, here and at other processes."""
        is_new = self._sessions.replica_of(session) is not replica
        self._sessions.keep(session, replica)
        if is_new and self.shared_sessions is not None:
            name = self._names()[self.replicas.index(replica)]
            self.shared_sessions.keep(session, self._name, name)

    def _names(self) -> list[str]:
        return _names([_place(address) for address in self.addresses])

    def _choose(self, session: str | None, attempts: Attempts, now: float) -> Replica:
        """Return the replica of the next attempt: the session's own, else the best of those that
        were not tried.

        One whose quarantine is over is probed first. Where all are quarantined, it is the one whose
        quarantine ends first.

        Raises:
            UpstreamUnavailable: there is no replica.
        """
        if not self.replicas:
            raise UpstreamUnavailable(self.why_none())
        if len(self.replicas) == 1:
            return self.replicas[0]
        own = self._sessions.replica_of(session)
        if own is not None and own not in attempts.replicas and own.breaker.admits(now):
            return own
        candidates = [replica for replica in self.replicas if replica not in attempts.replicas]
        candidates = candidates or list(self.replicas)
        admitted = [replica for replica in candidates if replica.breaker.admits(now)]
        if not admitted:
            return min(candidates, key=lambda replica: replica.breaker.retry_in(now))
        for replica in admitted:
            if replica.breaker.state(now) == "half_open":
                return replica
        return self._balancer.choose(admitted, now)

    async def _wait_for_next(self, error: LLMError, attempts: Attempts, session: str | None) -> None:
        """Wait until the next attempt is due.

        Raises:
            LLMError: there is none; the call fails with it.
        """
        secs = self._secs_to_next(error, attempts, running_clock()())
        if secs is None:
            self._sessions.forget(session)
            raise self._final_error(error, attempts) from None
        await anyio.sleep(secs)

    def _secs_to_next(self, error: LLMError, attempts: Attempts, now: float) -> float | None:
        """Seconds until the next attempt, 0 at a replica that was not tried; None when there is
        none."""
        made = len(attempts.replicas)
        if made >= self._max_attempts or not self.replicas or not is_retryable(error) or not self._budget.allows(now):
            return None
        if any(replica not in attempts.replicas for replica in self.replicas):
            return 0.0
        return pause(error, made, self._rng)

    def _final_error(self, error: LLMError, attempts: Attempts) -> LLMError:
        """Return the error that the call fails with: the only replica's own, or that none of
        several answered.
        """
        count = len(set(attempts.replicas))
        if count > 1 and is_retryable(error):
            error = UpstreamUnavailable(
                f"None of {count} replicas of '{self._name}' answered; the last one: {error.log_message}"
            )
        if len(attempts.replicas) > 1:
            error.retryable_by_client = False
        return error
