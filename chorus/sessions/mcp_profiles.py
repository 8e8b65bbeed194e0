"""Notes on users that another MCP server keeps, in place of the store (M5).

Its tools are those that Chorus has itself: `memory_get`, and to write `memory_upsert` and
`memory_delete`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final

import structlog

from chorus import wirejson
from chorus.auth.principal import LOCAL
from chorus.errors import StorageUnavailable
from chorus.sessions.mcp_connection import McpConnection
from chorus.sessions.notes import MAX_KEY_CHARS, MAX_NOTE_CHARS, NoteLimits, tokens_of
from chorus.storage.records import Change, Notes, Profile
from chorus.wirejson import JSON

_GET: Final = "memory_get"
_UPSERT: Final = "memory_upsert"
_DELETE: Final = "memory_delete"
_WHOLE: Final = "memory"
"""The key of notes that come as one text."""

_log = structlog.get_logger("chorus.sessions")


class McpProfiles:
    """Profiles as `storage.base.Profiles` has them. What the server sends is cut to `limits`, since
    all of it stands in each prompt."""

    def __init__(self, connection: McpConnection, limits: NoteLimits) -> None:
        self._connection = connection
        self._limits = limits

    async def get(self, owner: str, user: str) -> Profile | None:
        """Return what the server says of `user`; None where that is nothing."""
        said = await self._connection.call(_GET, _name(owner, user), {})
        notes = _fitting(_notes(said), self._limits)
        return Profile(notes, _time(said)) if notes else None

    async def update(self, owner: str, user: str, change: Change) -> Profile:
        """Send what `change` makes different. Somebody else's change between reading and writing
        stays, where it is of another note."""
        profile = await self.get(owner, user)
        before = profile.notes if profile is not None else {}
        after = change(dict(before))
        changes: dict[str, JSON] = {key: text for key, text in after.items() if before.get(key) != text}
        changes.update((key, None) for key in before if key not in after)
        if changes:
            await self._connection.call(_UPSERT, _name(owner, user), {"notes": changes})
        return Profile(after, time.time())

    async def delete(self, owner: str, user: str) -> bool:
        """Have the server forget everything of `user`."""
        if await self._connection.has(_DELETE):
            await self._connection.call(_DELETE, _name(owner, user), {})
            return True
        return bool(await self.get(owner, user)) and not (await self.update(owner, user, lambda notes: {})).notes

    @property
    def takes_notes(self) -> bool:
        """Whether the server lets notes be written, as far as is known."""
        return not self._connection.lacks(_UPSERT)

    def open(self) -> AbstractAsyncContextManager[None]:
        """Connect where it is needed, while the block lasts."""
        return self._connection.open()


def _name(owner: str, user: str) -> str:
    """Return who the user is at the server: one name under two keys is two users."""
    return user if owner == LOCAL else f"{owner}:{user}"


def _notes(said: JSON) -> Notes:
    """Return the notes in what `memory_get` says: the object `notes`, else an object of texts, else
    one text.

    Raises:
        StorageUnavailable: it is none of them.
    """
    if isinstance(said, str):
        try:
            read = wirejson.decode(said)
        except ValueError:
            read = None
        if not isinstance(read, Mapping):
            return {_WHOLE: said.strip()} if said.strip() else {}
        said = read
    if isinstance(said, Mapping):
        named = said.get("notes", said)
        if set(said) == {"result"}:  # as the SDK wraps what is no object
            return _notes(said["result"])
        if isinstance(named, Mapping):
            return {str(key): text for key, text in named.items() if isinstance(text, str)}
    if said is None or said == []:
        return {}
    if isinstance(said, list) and all(isinstance(text, str) for text in said):
        return {_WHOLE: "\n".join(said)}
    raise StorageUnavailable("What the memory server says of the user are no notes.")


def _fitting(notes: Notes, limits: NoteLimits) -> Notes:
    """Return the notes that fit into `limits`, in the order of their keys."""
    fitting: Notes = {}
    tokens = 0
    for key in sorted(notes):
        text = notes[key][:MAX_NOTE_CHARS]
        tokens += tokens_of({key: text})
        if len(fitting) < limits.max_notes and tokens <= limits.max_tokens and 0 < len(key) <= MAX_KEY_CHARS:
            fitting[key] = text
    if len(fitting) < len(notes):
        _log.warning("memory: notes of the memory server are left out", notes=len(notes), taken=len(fitting))
    return fitting


def _time(said: JSON) -> float:
    """Return when the notes were changed, in seconds since 1970.

    Now where the server does not say.
    """
    changed = said.get("updated_at") if isinstance(said, Mapping) else None
    try:
        return datetime.fromisoformat(str(changed)).timestamp()
    except (ValueError, OverflowError):
        return time.time()
