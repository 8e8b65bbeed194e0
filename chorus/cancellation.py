"""Work for a client that may disconnect before it is done (W13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio

from chorus.errors import ClientGone

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class CancelSignal:
    """A one-shot signal that the client has disconnected, or has cancelled its run.

    Subscribers are called back. A task that waits for the signal, and is cancelled each time it
    does not come, costs 10 % of the CPU of a relayed request (benchmarks/passthrough.py).
    """

    __slots__ = ("_subscribers", "error", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self.error: ClientGone | None = None
        """Why, where it is not that the client has disconnected."""
        self._subscribers: list[Callable[[], object]] = []

    def set(self, error: ClientGone | None = None) -> None:
        """Call every subscriber, the first time only. Call this on the event loop's thread."""
        if not self.is_set:
            self.is_set = True
            self.error = error
            for callback in tuple(self._subscribers):
                callback()

    def subscribe(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when the signal is set.

        At once if it is set. `callback` must not raise.
        """
        self._subscribers.append(callback)
        if self.is_set:
            callback()

    def unsubscribe(self, callback: Callable[[], object]) -> None:
        """Have `callback` not called any more."""
        self._subscribers.remove(callback)


async def run_until(signal: CancelSignal, work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns. `work` is cancelled when `signal` is set first.

    Raises:
        ClientGone: the signal was set.
        Exception: whatever `work` raised.
    """
    with anyio.CancelScope() as scope:
        signal.subscribe(scope.cancel)
        try:
            return await work()
        finally:
            signal.unsubscribe(scope.cancel)
    raise gone(signal)


async def cancelled_with(scope: anyio.CancelScope, work: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts) -> None:
    """Run `work(*args)` as a task of the group that has `scope`; end where `scope` is cancelled.

    A task that ends by an exception leaves a reference cycle in anyio, and in it all that it worked
    on: 11 MB of a request with an image, until the next collection of garbage.
    """
    try:
        await work(*args)
    except anyio.get_cancelled_exc_class():
        if not scope.cancel_called:
            raise


def gone(signal: CancelSignal | None) -> ClientGone:
    """Return why `signal` was set, as a new error: one that is raised twice would hold frames."""
    if signal is not None and signal.error is not None:
        return type(signal.error)(signal.error.message)
    return ClientGone("The client left before its answer was complete.")
