"""A number of slots, and a bounded line of those who wait for one (K2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from chorus.admission.queue import Ticket, WaitingLine
from chorus.errors import QueueFull, QueueTimeout
from chorus.types import Priority

_RETRY_SECS: Final = 1.0
"""What a client that is turned away is told to wait at least."""


def _ignore(seconds: float) -> None:
    """Default of `Gate`'s `waited`: nobody measures."""


class Gate:
    """Lets `slots` in at a time; `waited` is told how long each had to wait, in seconds."""

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

    def enter_now(self) -> bool:
        """Take a slot if one is free; who gets it must `leave`."""
        if self.active >= self._slots:
            return False
        self.active += 1  # nobody waits then: a slot that is given back goes to the line first
        self._waited(0.0)
        return True

    def check_room(self) -> None:
        """Raises QueueFull: as many wait as may."""
        if len(self._line) >= self._max_waiting:
            raise QueueFull(f"{self._name}: {self._max_waiting} requests are waiting already", retry_after=_RETRY_SECS)

    async def enter(self, priority: Priority) -> None:
        """Take a slot, or wait for one in line; who returns from here must `leave`. Who is cancelled while waiting leaves the
        line at once.

        Raises:
            QueueFull: as many wait as may.
            QueueTimeout: it did not get in within its time.
        """
        if self.enter_now():
            return
        self.check_room()
        began = anyio.current_time()
        ticket = self._line.join(priority, began)
        admitted = self._admitted[ticket] = anyio.Event()
        try:
            with anyio.move_on_after(self._max_wait_secs):
                await admitted.wait()
        except BaseException:
            if admitted.is_set():  # admitted and cancelled in the same moment: the slot goes to the next
                self.leave()
            raise
        finally:
            del self._admitted[ticket]
            self._line.leave(ticket)
        if not admitted.is_set():
            raise QueueTimeout(f"{self._name}: no slot became free in time", retry_after=_RETRY_SECS)
        self._waited(anyio.current_time() - began)

    def leave(self) -> None:
        """Give the slot back. It goes to whoever is next, without becoming free in between."""
        ticket = self._line.next()
        if ticket is None:
            self.active -= 1
        else:
            self._admitted[ticket].set()
