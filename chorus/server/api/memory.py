"""`/api/v1/memory`: what is noted of a user, to be read and edited by hand (M4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest
from chorus.server.http.auth import owner_of, user_of
from chorus.server.http.reading import read
from chorus.server.http.routes import Route
from chorus.server.http.wire import read_body, send_json
from chorus.service import Chorus
from chorus.sessions.notes import NoteLimits, merged_notes
from chorus.storage.records import Notes, Profile
from chorus.wirejson import JSON


class MemoryBody(msgspec.Struct):
    """The body of a PUT: a text for each key; null removes a note."""

    notes: dict[str, Any]


class Memory:
    """The handler over one `Chorus`. A user belongs to the caller's key: the same name under two
    keys is two users."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    def route(self) -> Route:
        """Return the route."""
        summary = "What is noted of the user that X-User-ID names"
        return Route("/api/v1/memory", self, summary, ("GET", "PUT", "DELETE"), MemoryBody, access="client")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, change or delete the notes on one user, and send those that there are then.

        Raises:
            InvalidRequest: no user is named, a note is no text, or a limit is exceeded.
            StorageUnavailable: the store is away.
        """
        owner, user = owner_of(scope), user_of(scope)
        if user is None:
            raise InvalidRequest("Missing header 'X-User-ID': it names the user.", param="X-User-ID")
        profile: Profile | None
        match scope["method"]:
            case "PUT":
                body, _ = await read_body(scope, receive)
                profile = await self._changed(owner, user, read(body, MemoryBody).notes)
            case "DELETE":
                profile = await self._deleted(owner, user, QueryParams(scope["query_string"]).get("key"))
            case _:
                profile = await self._chorus.storage.profiles.get(owner, user)
        await send_json(send, _shown(user, profile))

    async def _changed(self, owner: str, user: str, changes: Mapping[str, Any]) -> Profile:
        settings = self._chorus.snapshot.memory
        limits = NoteLimits(settings.max_notes, settings.max_tokens)

        def change(notes: Notes) -> Notes:
            return merged_notes(notes, changes, limits)

        return await self._chorus.storage.profiles.update(owner, user, change)

    async def _deleted(self, owner: str, user: str, key: str | None) -> Profile | None:
        """Forget one note, or all of them; returns what is left."""
        profiles = self._chorus.storage.profiles
        if key is None:
            await profiles.delete(owner, user)
            return None
        if not key:
            raise InvalidRequest("Invalid value for 'key': expected the key of a note.", param="key")
        if await profiles.get(owner, user) is None:
            return None  # a change would make a profile
        return await self._changed(owner, user, {key: None})


def _shown(user: str, profile: Profile | None) -> dict[str, JSON]:
    if profile is None:
        return {"user_id": user, "notes": {}, "updated_at": None}
    updated_at = datetime.fromtimestamp(profile.updated_at, UTC).isoformat(timespec="milliseconds")
    return {"user_id": user, "notes": profile.notes, "updated_at": updated_at.replace("+00:00", "Z")}
