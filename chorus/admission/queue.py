"""The order of waiting callers (K2). Pure: `now` comes from the caller, in seconds.

By priority, then by arrival, and nobody starves: a level of priority is worth `AGING_SECS` of
waiting. A `batch` request that has waited a minute goes before an `interactive` one that has just
come.
"""

from __future__ import annotations

import heapq
from typing import Final

from chorus.types import Priority

AGING_SECS: Final = 30.0
"""How much earlier a request of the next higher priority counts as having come."""
_LEVELS: Final[dict[Priority, int]] = {"interactive": 0, "default": 1, "batch": 2}


class Ticket:
    """A place in the queue."""

    __slots__ = ("arrived", "has_left")

    def __init__(self, arrived: float) -> None:
        self.arrived = arrived
        self.has_left = False


class WaitingLine:
    """Tickets in the order in which they will be served."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Ticket]] = []
        self._number = 0
        self._gone = 0

    def __len__(self) -> int:
        return len(self._heap) - self._gone

    def join(self, priority: Priority, now: float) -> Ticket:
        """Return a new place."""
        ticket = Ticket(now)
        self._number += 1  # of equals, who came first
        heapq.heappush(self._heap, (now + _LEVELS[priority] * AGING_SECS, self._number, ticket))
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up.

        Places given up take room for as long as they are fewer than the others.
        """
        if ticket.has_left:
            return
        ticket.has_left = True
        self._gone += 1
        self._tidy()

    def next(self) -> Ticket | None:
        """Return who is served; None when nobody waits."""
        while self._heap:
            ticket = heapq.heappop(self._heap)[2]
            if not ticket.has_left:
                ticket.has_left = True
                self._tidy()
                return ticket
            self._gone -= 1
        return None

    def _tidy(self) -> None:
        if self._gone * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].has_left]
            heapq.heapify(self._heap)
            self._gone = 0
