"""Which replica a session stays with (D3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final, Protocol

from chorus.llm.pool.replica import Replica

_MAX_SESSIONS: Final = 10_000
"""Sessions whose replica is remembered; those that were away longest are forgotten."""


class SharedSessions(Protocol):
    """Where the processes of one service tell each other which replica a session stays with. A
    replica has the same name in all of them."""

    async def find(self, session: str, model: str) -> str | None:
        """Return the name of the replica, None where none is known in time. Never raises."""
        ...

    def keep(self, session: str, model: str, replica: str) -> None:
        """Let the others know, soon."""
        ...


class Sessions:
    """The replica that answered each session last."""

    def __init__(self) -> None:
        self._replicas: OrderedDict[str, Replica] = OrderedDict()

    def replica_of(self, session: str | None) -> Replica | None:
        """Return the replica that `session` stays with; None where it has none."""
        return self._replicas.get(session) if session else None

    def keep(self, session: str, replica: Replica) -> None:
        """Let `session` stay with `replica` from now on."""
        self._replicas[session] = replica
        self._replicas.move_to_end(session)
        if len(self._replicas) > _MAX_SESSIONS:
            self._replicas.popitem(last=False)

    def keep_only(self, replicas: Collection[Replica]) -> None:
        """Forget the sessions that stay with another replica than one of `replicas`."""
        gone = [session for session, replica in self._replicas.items() if replica not in replicas]
        for session in gone:
            del self._replicas[session]

    def forget(self, session: str | None) -> None:
        """Let the next call of `session` go anywhere."""
        self._replicas.pop(session or "", None)
