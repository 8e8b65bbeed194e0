"""The memory of users around a run: notes before it, new notes after it (M4).

Above: `service`. Below: `flow` recalls, `memorizer` reads the exchange when the run has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from chorus.journal import Observer
from chorus.sessions.flow import preparing
from chorus.sessions.memorizer import Admit, Memorizer
from chorus.sessions.note_sizes import NoteSizes
from chorus.snapshot import MemorySettings
from chorus.storage.base import Storage
from chorus.types import ChatRequest
from chorus.workflow.run import Run


@dataclass(frozen=True, slots=True)
class AroundRun:
    """What memory adds to one run: the steps before the model, and observers."""

    prepare: Callable[[Run], Awaitable[Sequence[ChatRequest]]] | None = None
    observers: Sequence[Observer] = ()


NO_MEMORY: Final = AroundRun()


class UserMemory:
    """The notes on users in `storage`, and the memorizer that adds to them."""

    def __init__(self, storage: Storage, memorizer: Memorizer) -> None:
        self._storage = storage
        self.memorizer = memorizer
        self.sizes = NoteSizes()

    def open(self) -> AbstractAsyncContextManager[None]:
        """Read exchanges while the block lasts."""
        return self.memorizer.open()

    async def tokens(self, owner: str, user: str) -> int:
        """Return about how many tokens the notes on `user` take in a prompt; as many as were known
        before while the store is away."""
        return await self.sizes.read(self._storage.profiles, owner, user)

    def around(
        self,
        settings: MemorySettings,
        owner: str,
        user: str,
        requests: Sequence[ChatRequest],
        side: str | None,
        counting: Sequence[Observer],
        admit: Admit | None = None,
    ) -> AroundRun:
        """Return what a run of `requests` gets for `user`, who belongs to `owner`. A request beside
        the conversation (`side`) is not read. `counting` observe the reading of the exchange, which
        `admit` charges."""
        profiles = self._storage.profiles
        prepare = preparing(profiles, owner, user, requests, self.sizes)
        if side is not None:
            return AroundRun(prepare)
        observers = self.memorizer.observers(settings, profiles, owner, user, requests[0], counting, admit)
        return AroundRun(prepare, observers)
