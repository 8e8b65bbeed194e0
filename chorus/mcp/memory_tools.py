"""The tools on the notes of a user: `memory_get`, `memory_upsert`, `memory_delete`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from chorus.mcp.tool import Call, Result, Tool
from chorus.service import Chorus
from chorus.sessions.user_notes import UserNotes, updated_at
from chorus.storage.records import Profile

UserId = Annotated[
    str | None, Meta(description="The user. Leave it out where the connection names one (header X-User-ID).")
]


class GetArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `memory_get`."""

    user_id: UserId = None


class UpsertArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `memory_upsert`."""

    notes: Annotated[
        dict[str, str | None],
        Meta(description='A text for each key, such as {"language": "Chinese"}; null removes a note.'),
    ]
    user_id: UserId = None


class DeleteArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `memory_delete`."""

    key: Annotated[str | None, Meta(description="The key of one note; all notes are deleted without it.")] = None
    user_id: UserId = None


class NotesResult(Result, frozen=True):
    """The notes on a user. `updated_at` is RFC 3339, null where there are none."""

    user_id: str
    notes: dict[str, str]
    updated_at: str | None


def memory_tools(chorus: Chorus) -> list[Tool[Any]]:
    """Return the tools. A user belongs to the caller's key, as everywhere."""

    def notes() -> UserNotes:
        return chorus.memory.notes(chorus.snapshot.memory)

    async def get(call: Call, given: GetArguments) -> Result:
        user = call.required_user(given.user_id)
        return _shown(user, await notes().read(call.principal.owner, user))

    async def upsert(call: Call, given: UpsertArguments) -> Result:
        user = call.required_user(given.user_id)
        return _shown(user, await notes().change(call.principal.owner, user, given.notes))

    async def delete(call: Call, given: DeleteArguments) -> Result:
        user = call.required_user(given.user_id)
        return _shown(user, await notes().delete(call.principal.owner, user, given.key))

    return [
        Tool(
            "memory_get",
            "Read memory",
            "Return what is noted about the user: facts and preferences that hold beyond one conversation.",
            GetArguments,
            NotesResult,
            get,
            is_read_only=True,
        ),
        Tool(
            "memory_upsert",
            "Write memory",
            "Note stable facts or preferences of the user, to be recalled in later conversations. Notes of other keys "
            "stay. Returns all notes.",
            UpsertArguments,
            NotesResult,
            upsert,
        ),
        Tool(
            "memory_delete",
            "Delete memory",
            "Forget one note about the user, or all of them. Returns the notes that are left.",
            DeleteArguments,
            NotesResult,
            delete,
            is_destructive=True,
        ),
    ]


def _shown(user: str, profile: Profile | None) -> NotesResult:
    if profile is None:
        return NotesResult(user, {}, None)
    return NotesResult(user, profile.notes, updated_at(profile))
