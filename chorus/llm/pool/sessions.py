"""Which replica a session stays with (D3)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from chorus.llm.pool.replica import Replica

_MAX_SESSIONS: Final = 10_000
"""Sessions whose replica is remembered; those that were away longest are forgotten."""


class Sessions:
    """The replica that answered each session last."""

    def __init__(self) -> None:
        self._replicas: OrderedDict[str, Replica] = OrderedDict()

    def replica_of(self, session: str | None) -> Replica | None:
        """The replica that `session` stays with; None where it has none."""
        return self._replicas.get(session) if session else None

    def keep(self, session: str, replica: Replica) -> None:
        """Let `session` stay with `replica` from now on."""
        self._replicas[session] = replica
        self._replicas.move_to_end(session)
        if len(self._replicas) > _MAX_SESSIONS:
            self._replicas.popitem(last=False)

    def forget(self, session: str | None) -> None:
        """Let the next call of `session` go anywhere."""
        self._replicas.pop(session or "", None)
