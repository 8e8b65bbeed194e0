"""The memory of users around a run: notes before it, new notes after it (M4).

Above: `service`. Below: `flow` recalls, `memorizer` reads the exchange when the run has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from chorus.config.memory import MemoryConfig
from chorus.errors import ConfigError, Problem
from chorus.journal import Observer
from chorus.sessions.flow import preparing
from chorus.sessions.mcp_connection import McpAddress, McpConnection
from chorus.sessions.mcp_profiles import McpProfiles
from chorus.sessions.memorizer import Admit, Memorizer
from chorus.sessions.note_sizes import NoteSizes
from chorus.sessions.notes import NoteLimits
from chorus.sessions.user_notes import UserNotes
from chorus.snapshot import MemorySettings
from chorus.storage.base import Profiles, Storage
from chorus.types import ChatRequest
from chorus.workflow.run import Run


@dataclass(frozen=True, slots=True)
class AroundRun:
    """What memory adds to one run: the steps before the model, and observers."""

    prepare: Callable[[Run], Awaitable[Sequence[ChatRequest]]] | None = None
    observers: Sequence[Observer] = ()
    note_tokens: int = 0
    """About how many tokens the notes add to a prompt, as far as it is known."""


NO_MEMORY: Final = AroundRun()


class UserMemory:
    """The notes on users, and the memorizer that adds to them. They are in `storage`, or at the
    other MCP server that keeps them instead."""

    def __init__(self, storage: Storage, memorizer: Memorizer, config: MemoryConfig) -> None:
        """`config` says who keeps the notes."""
        self._storage = storage
        self._elsewhere = _elsewhere(config)
        self.memorizer = memorizer
        self.sizes = NoteSizes()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read exchanges while the block lasts."""
        async with self._elsewhere.open() if self._elsewhere is not None else nullcontext(), self.memorizer.open():
            yield

    @property
    def _profiles(self) -> Profiles:
        return self._elsewhere if self._elsewhere is not None else self._storage.profiles

    def notes(self, settings: MemorySettings) -> UserNotes:
        """Return what reads and edits the notes by hand."""
        return UserNotes(self._profiles, NoteLimits(settings.max_notes, settings.max_tokens))

    async def tokens(self, owner: str, user: str) -> int:
        """Return about how many tokens the notes on `user` take in a prompt; as many as were known
        before while the store is away."""
        return await self.sizes.read(self._profiles, owner, user)

    def around(
        self,
        settings: MemorySettings,
        owner: str,
        user: str | None,
        requests: Sequence[ChatRequest],
        side: str | None,
        counting: Sequence[Observer],
        admit: Admit | None = None,
    ) -> AroundRun:
        """Return what a run of `requests` gets for `user`, who belongs to `owner`.

        Nothing for nobody. A request beside the conversation (`side`) is not read. `counting`
        observe the reading of the exchange, which `admit` charges.
        """
        if user is None:
            return NO_MEMORY
        profiles, known = self._profiles, self.sizes.known(owner, user)
        prepare = preparing(profiles, owner, user, requests, settings.recall_timeout_secs, self.sizes)
        if side is not None or (self._elsewhere is not None and not self._elsewhere.takes_notes):
            return AroundRun(prepare, note_tokens=known)
        observers = self.memorizer.observers(settings, profiles, owner, user, requests[0], counting, admit)
        return AroundRun(prepare, observers, known)


def _elsewhere(config: MemoryConfig) -> McpProfiles | None:
    """Return the notes that another MCP server keeps; None where the store does.

    Raises:
        ConfigError: the SDK is not installed.
    """
    if config.provider != "mcp":
        return None
    if find_spec("mcp") is None:
        raise ConfigError([Problem("[memory] provider", "\"mcp\" needs `pip install 'chorus-llm[mcp]'`")])
    key = config.api_key.get_secret_value() if config.api_key is not None else None
    address = McpAddress(config.url, config.command or (), key)
    limits = NoteLimits(config.max_notes, config.max_tokens)
    return McpProfiles(McpConnection(address, config.recall_timeout_secs), limits)
