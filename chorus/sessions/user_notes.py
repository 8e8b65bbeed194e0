"""The notes on users, read and edited by hand: over HTTP and by the tools of MCP (M4, M5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chorus.errors import InvalidRequest
from chorus.sessions.notes import NoteLimits, merged_notes
from chorus.storage.base import Profiles
from chorus.storage.records import Notes, Profile


class UserNotes:
    """Reads and changes within `limits`. Every method raises StorageUnavailable where the store is
    away."""

    def __init__(self, profiles: Profiles, limits: NoteLimits) -> None:
        self._profiles = profiles
        self._limits = limits

    async def read(self, owner: str, user: str) -> Profile | None:
        """Return what is noted of `user`, who belongs to `owner`."""
        return await self._profiles.get(owner, user)

    async def change(self, owner: str, user: str, changes: Mapping[str, Any]) -> Profile:
        """Merge `changes` into the notes; null removes one. Raises InvalidRequest as
        `merged_notes` does."""

        def change(notes: Notes) -> Notes:
            return merged_notes(notes, changes, self._limits)

        return await self._profiles.update(owner, user, change)

    async def delete(self, owner: str, user: str, key: str | None) -> Profile | None:
        """Forget one note, or all of them where `key` is None; returns what is left.

        Raises:
            InvalidRequest: the key is empty.
        """
        if key is None:
            await self._profiles.delete(owner, user)
            return None
        if not key:
            raise InvalidRequest("Invalid value for 'key': expected the key of a note.", param="key")
        if await self._profiles.get(owner, user) is None:
            return None  # a change would make a profile
        return await self.change(owner, user, {key: None})


def updated_at(profile: Profile) -> str:
    """Return when `profile` was changed last, as RFC 3339 has it."""
    moment = datetime.fromtimestamp(profile.updated_at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
