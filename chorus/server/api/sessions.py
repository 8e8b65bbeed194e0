"""`/api/v1/sessions`: the conversations of a caller, or of one of its users (M3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import NotFound
from chorus.server.api.conversation_reading import may_use, read_history
from chorus.server.api.conversations import write_key
from chorus.server.api.paging import page_limit
from chorus.server.http.auth import owner_of, user_of
from chorus.server.http.routes import Route
from chorus.server.http.wire import send_json
from chorus.storage.base import Conversations
from chorus.storage.behind import WriteBehind
from chorus.storage.records import Conversation
from chorus.wirejson import JSON

_MOST: Final = 1000
_LISTED: Final = 100
"""How many sessions a list has at most, and where the request does not say."""


class Sessions:
    """The handlers of `/api/v1/sessions`. With `X-User-ID` they see the sessions of that user."""

    def __init__(self, conversations: Conversations, writes: WriteBehind) -> None:
        self._conversations = conversations
        self._writes = writes

    def routes(self) -> tuple[Route, ...]:
        """Return the routes, below `/api/v1/sessions`."""
        return (
            Route("", self.sessions, "The newest sessions of the caller, or of X-User-ID", access="client"),
            Route("/{id}", self.session, "A session with its items", ("GET", "DELETE"), access="client"),
        )

    async def sessions(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the sessions, the one that was changed last first."""
        owner, user = owner_of(scope), user_of(scope) or ""
        limit = page_limit(QueryParams(scope["query_string"]).get("limit"), _LISTED, _MOST)
        await self._writes.settled_all("conversations", owner)
        conversations = await self._conversations.recent(owner, user, limit)
        await send_json(send, {"data": [*map(_shown, conversations)]})

    async def session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a session with its items, or delete it.

        Raises:
            NotFound: the caller, or the user that it names, has none of this id.
        """
        owner, id = owner_of(scope), scope["path_params"]["id"]
        await self._writes.settled(write_key(owner, id))
        user = user_of(scope) or ""
        if scope["method"] == "DELETE":
            conversation = await self._conversations.get(owner, id)
            if conversation is None or not may_use(conversation, user):
                raise _unknown()
            await self._conversations.delete(owner, id)
            await send_json(send, {"id": id, "deleted": True})
            return
        read = await read_history(self._conversations, owner, id)
        if read is None or not may_use(read[0], user):
            raise _unknown()
        conversation, history = read
        await send_json(send, {**_shown(conversation), "items": msgspec.Raw(history.encoded)})


def _unknown() -> NotFound:
    return NotFound("There is no session of this id (any more).")


def _shown(conversation: Conversation) -> dict[str, JSON]:
    return {
        "id": conversation.id,
        "created_at": _time(conversation.created_at),
        "updated_at": _time(conversation.updated_at),
        "title": conversation.title,
        "turns": conversation.turns,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
