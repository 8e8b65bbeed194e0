"""Which replica a session stays with, for all processes with one store (D3).

Above: `service` gives it to the pools of `llm`. Below: the affinities of a store, and writes that
nobody waits for. A session is named `<owner>:<id>`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio

from chorus.errors import ChorusError
from chorus.storage.base import Affinities
from chorus.storage.behind import WriteBehind

_WAIT_SECS: Final = 1.0
"""How long the first call of a session waits for the store. It goes anywhere then."""


class StoredSessions:
    """See `llm.pool.sessions.SharedSessions`."""

    def __init__(self, affinities: Affinities, writes: WriteBehind, count: Callable[[], None]) -> None:
        """`count` is called when a session goes on without the store."""
        self._affinities = affinities
        self._writes = writes
        self._count = count

    async def find(self, session: str, model: str) -> str | None:
        """Return the name of the replica, None where none is known in time."""
        owner, _, id = session.partition(":")
        try:
            with anyio.fail_after(_WAIT_SECS):
                return await self._affinities.get(owner, id, model)
        except (TimeoutError, ChorusError):
            self._count()
            return None

    def keep(self, session: str, model: str, replica: str) -> None:
        """Let the replica be written."""
        owner, _, id = session.partition(":")
        put = partial(self._affinities.put, owner, id, model, replica)
        self._writes.add(("affinity", owner, id), len(session) + len(replica), put)
