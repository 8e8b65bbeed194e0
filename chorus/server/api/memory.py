"""`/api/v1/memory`: what is noted of a user, to be read and edited by hand (M4)."""

from __future__ import annotations

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
from chorus.sessions.user_notes import updated_at
from chorus.storage.records import Profile
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
        notes = self._chorus.memory.notes(self._chorus.snapshot.memory)
        profile: Profile | None
        match scope["method"]:
            case "PUT":
                body, _ = await read_body(scope, receive)
                profile = await notes.change(owner, user, read(body, MemoryBody).notes)
            case "DELETE":
                profile = await notes.delete(owner, user, QueryParams(scope["query_string"]).get("key"))
            case _:
                profile = await notes.read(owner, user)
        await send_json(send, _shown(user, profile))


def _shown(user: str, profile: Profile | None) -> dict[str, JSON]:
    if profile is None:
        return {"user_id": user, "notes": {}, "updated_at": None}
    return {"user_id": user, "notes": profile.notes, "updated_at": updated_at(profile)}
