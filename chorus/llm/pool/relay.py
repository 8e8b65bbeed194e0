"""A relayed request at the replicas of a pool: the first one that begins its answer has it (D1,
L4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from chorus.errors import LLMError
from chorus.llm.pool.attempt import Attempt, Attempts
from chorus.llm.pool.breaker import Outcome, outcome_of
from chorus.llm.relay import RelayAnswer, RelayCall


class NotAgain(Exception):
    """An attempt failed with `error`, and the body of the request is gone: no other replica can
    have it."""

    def __init__(self, error: LLMError) -> None:
        super().__init__(error.log_message)
        self.error = error


@dataclass(slots=True)
class OpenRelay:
    """An attempt whose answer has begun."""

    attempt: Attempt
    opened: AbstractAsyncContextManager[RelayAnswer]
    answer: RelayAnswer

    async def close(self, outcome: Outcome, error: BaseException | None) -> None:
        """End the attempt and close its connection; `error` is why, where there is one."""
        self.attempt.end(outcome, error)
        if error is None:
            await self.opened.__aexit__(None, None, None)
        else:
            await self.opened.__aexit__(type(error), error, error.__traceback__)


async def open_relay(attempt: Attempt, call: RelayCall) -> OpenRelay:
    """Send `call` to the replica of `attempt`, and return its answer when its first bytes have
    come.

    Raises:
        LLMError: nothing of an answer came; another replica may have the call. The attempt has
            ended.
        NotAgain: the same, and no other replica may.
        ChorusError: what the body of `call` raised.
    """
    relay = attempt.replica.relay
    assert relay is not None
    call.attempting(attempt.replica.instance_id)
    opened = relay.open(call)
    try:
        answer = await _begun(opened)
    except BaseException as error:
        attempt.end(_outcome(error, call.timed_out), error)
        if isinstance(error, LLMError) and not call.body.can_be_sent:
            raise NotAgain(error) from None
        raise
    attempt.answered()
    return OpenRelay(attempt, opened, answer)


async def _begun(opened: AbstractAsyncContextManager[RelayAnswer]) -> RelayAnswer:
    """Enter `opened`, and read the first bytes of its answer; it is left again where that fails."""
    answer = await opened.__aenter__()
    try:
        first = await anext(answer.parts, b"")
    except BaseException as error:
        await opened.__aexit__(type(error), error, error.__traceback__)
        raise
    return replace(answer, parts=_with_first(first, answer.parts))


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for part in rest:
        yield part


def _outcome(error: BaseException, timed_out: Callable[[], bool]) -> Outcome:
    """Return what an exception says of the replica.

    A cancellation counts against the replica only where a time limit caused it.
    """
    if isinstance(error, LLMError):
        return outcome_of(error)
    return "failure" if not isinstance(error, Exception) and timed_out() else "neutral"


class Opener(Protocol):
    """The pool, as a relayed request uses it."""

    async def start_relay(self, call: RelayCall, attempts: Attempts) -> OpenRelay:
        """Return the answer of the first replica that begins one. Raises as `open_relay` does."""
        ...


class PooledRelay(AbstractAsyncContextManager[RelayAnswer]):
    """`Pool.relay`: a relayed request while it is answered."""

    __slots__ = ("_call", "_open", "_pool")

    def __init__(self, pool: Opener, call: RelayCall) -> None:
        self._pool = pool
        self._call = call
        self._open: OpenRelay | None = None

    async def __aenter__(self) -> RelayAnswer:
        try:
            self._open = await self._pool.start_relay(self._call, Attempts())
        except NotAgain as final:
            raise final.error from None
        return self._open.answer

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._open is not None:
            outcome = "success" if error is None else _outcome(error, self._call.timed_out)
            await self._open.close(outcome, error)
