"""Work for somebody who may leave before it is done (W13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from chorus.errors import ClientGone

T = TypeVar("T")


class Departure:
    """The leaving of whoever wants an answer: it happens once, or never.

    Who is told of it gets a call, not a wake-up: a task that waits for what hardly ever happens, and has to be cancelled each
    time it does not, was a tenth of the CPU of a relayed request (benchmarks/passthrough.py).
    """

    __slots__ = ("_told", "has_happened")

    def __init__(self) -> None:
        self.has_happened = False
        self._told: list[Callable[[], object]] = []

    def happen(self) -> None:
        """Tell everybody; from the event loop's thread."""
        if not self.has_happened:
            self.has_happened = True
            for callback in tuple(self._told):
                callback()

    def then(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when it happens; at once if it has. It must not raise."""
        self._told.append(callback)
        if self.has_happened:
            callback()

    def forget(self, callback: Callable[[], object]) -> None:
        """Have `callback` not called any more."""
        self._told.remove(callback)


async def unless(departure: Departure, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns; it is cancelled when the departure happens first.

    Raises:
        ClientGone: it did.
        Exception: whatever `work` raised.
    """
    with anyio.CancelScope() as scope:
        departure.then(scope.cancel)
        try:
            return await work()
        finally:
            departure.forget(scope.cancel)
    raise ClientGone("The client left before its answer was complete.")
