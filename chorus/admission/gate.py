"""A number of slots, and a bounded line of callers that wait for one (K2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from chorus.admission.queue import Ticket, WaitingLine
from chorus.errors import QueueFull, QueueTimeout
from chorus.types import Priority

_RETRY_SECS: Final = 1.0
"""The shortest `Retry-After`, in seconds, of a request that is refused."""


def _ignore(seconds: float) -> None:
    """Default of `Gate`'s `waited`: nobody measures."""


class Gate:
    """Lets `slots` callers in at a time. `waited` is called with the seconds that each had to
    wait."""

    def __init__(
        self,
        name: str,
        slots: int,
        *,
        max_waiting: int = 1000,
        max_wait_secs: float | None = None,
        waited: Callable[[float], None] = _ignore,
    ) -> None:
        self._name = name
        self._slots = slots
        self._max_waiting = max_waiting
        self._max_wait_secs = max_wait_secs
        self._waited = waited
        self._line = WaitingLine()
        self._admitted: dict[Ticket, anyio.Event] = {}
        self.active = 0
        """How many are in."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def slot(self, priority: Priority) -> Slot:
        """Return a slot for one caller, which does not hold it yet.

        This is the one way to get a slot.
        """
        return Slot(self, priority)

    def _take_free(self) -> bool:
        """Take a slot if one is free. Raises QueueFull: none is, and as many wait as may."""
        if self.active < self._slots:
            self.active += 1  # nobody waits: a slot that is given back goes to the line first
            self._waited(0.0)
            return True
        if len(self._line) >= self._max_waiting:
            raise QueueFull(f"{self._name}: {self._max_waiting} requests are waiting already", retry_after=_RETRY_SECS)
        return False

    async def _wait(self, priority: Priority) -> None:
        """Wait in line for a slot. A caller that is cancelled leaves the line at once."""
        began = anyio.current_time()
        ticket = self._line.join(priority, began)
        admitted = self._admitted[ticket] = anyio.Event()
        try:
            with anyio.move_on_after(self._max_wait_secs):
                await admitted.wait()
        except BaseException:
            # admitted and cancelled in the same moment: the slot goes to the next
            if admitted.is_set():
                self._give_back()
            raise
        finally:
            del self._admitted[ticket]
            self._line.leave(ticket)
        if not admitted.is_set():
            raise QueueTimeout(f"{self._name}: no slot became free in time", retry_after=_RETRY_SECS)
        self._waited(anyio.current_time() - began)

    def _give_back(self) -> None:
        """Hand a slot to the next in line, or make it free.

        A slot that is handed over is not free in between.
        """
        ticket = self._line.next()
        if ticket is None:
            self.active -= 1
        else:
            self._admitted[ticket].set()


class Slot:
    """A slot of a gate for one caller. An `async with` block holds it.

    A caller that begins before it has its slot calls `take_now`, later `take`, and `release` at its
    end.
    """

    __slots__ = ("_gate", "_priority", "is_held")

    def __init__(self, gate: Gate, priority: Priority) -> None:
        self._gate = gate
        self._priority: Priority = priority
        self.is_held = False

    def take_now(self) -> bool:
        """Take the slot if one is free, and return whether one was.

        Raises:
            QueueFull: none is free, and as many callers wait as may.
        """
        self.is_held = self._gate._take_free()
        return self.is_held

    async def take(self) -> None:
        """Take the slot, or wait for it in line. Returns at once where it is held already.

        Raises:
            QueueFull: none is free, and as many callers wait as may.
            QueueTimeout: none became free within the gate's time.
        """
        if not self.is_held:
            if not self._gate._take_free():
                await self._gate._wait(self._priority)
            self.is_held = True

    def release(self) -> None:
        """Give the slot back, where it is held."""
        if self.is_held:
            self.is_held = False
            self._gate._give_back()

    __aenter__ = take

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self.is_held:
            self.is_held = False
            self._gate._give_back()
