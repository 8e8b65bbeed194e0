"""What one exchange keeps in the store: its response, and its turn of a conversation (M3).

Above: the endpoint. Below: `storage.behind`, which goes on with what takes too long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from chorus.service import Chorus
from chorus.storage.behind import AddWrite, Key, Write

NOT_KEPT: Final = "The storage is away: this exchange is kept later, or not at all."


class ExchangeWrites:
    """The writes of one exchange. It does them itself where a client waits for them."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus
        self._added: list[Write | None] = []
        self.claims = False
        """Whether the exchange calls `are_kept` if it can, and `release` in any case."""

    def adding(self, workflow_id: str, counted: Sequence[str]) -> AddWrite:
        """Return what lets a record be written. Where it is late or lost the trace says so, and it
        is counted, unless its kind is among the `counted` ones."""
        return partial(self._add, workflow_id, counted)

    async def are_kept(self) -> bool:
        """Return whether the store has all that was added, as soon as it has.

        Other processes read it then, and it outlives this one. Waits for a moment at most.
        """
        kept = [await self._chorus.writes.kept(write) for write in self._added]
        return all(kept)

    def release(self) -> None:
        """Let what is not done yet be done without the exchange."""
        for write in self._added:
            self._chorus.writes.release(write)

    def _add(
        self,
        workflow_id: str,
        counted: Sequence[str],
        key: Key,
        size: int,
        write: Callable[[], Awaitable[object]],
    ) -> None:
        chorus = self._chorus

        def failed() -> None:
            chorus.past_runs.note(workflow_id, NOT_KEPT)
            if key[0] not in counted:
                chorus.metrics.storage_unavailable(key[0])

        self._added.append(chorus.writes.add(key, size, write, failed, claims=self.claims))
