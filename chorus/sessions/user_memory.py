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
from chorus.sessions.memorizer import Memorizer
from chorus.sessions.notes import NoteLimits
from chorus.sessions.user_notes import UserNotes
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

    def open(self) -> AbstractAsyncContextManager[None]:
        """Read exchanges while the block lasts."""
        return self.memorizer.open()

    def notes(self, settings: MemorySettings) -> UserNotes:
        """Return what reads and edits the notes by hand."""
        return UserNotes(self._storage.profiles, NoteLimits(settings.max_notes, settings.max_tokens))

    def around(
        self,
        settings: MemorySettings,
        owner: str,
        user: str,
        requests: Sequence[ChatRequest],
        side: str | None,
        counting: Sequence[Observer],
    ) -> AroundRun:
        """Return what a run of `requests` gets for `user`, who belongs to `owner`. A request beside
        the conversation (`side`) is not read. `counting` observe the reading of the exchange."""
        profiles = self._storage.profiles
        prepare = preparing(profiles, owner, user, requests)
        if side is not None:
            return AroundRun(prepare)
        observers = self.memorizer.observers(settings, profiles, owner, user, requests[0], counting)
        return AroundRun(prepare, observers)
