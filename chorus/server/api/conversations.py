"""OpenAI's Conversations API (M3): `/v1/conversations` and the items of each.

A conversation belongs to the key that made it; to all others it does not exist. A request of this
API waits for the exchanges of its conversation that are still being written.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest, NotFound
from chorus.server.api.conversation_items import stored_items
from chorus.server.api.paging import page_limit, page_order
from chorus.server.dialects.openai.metadata import check_metadata
from chorus.server.http.auth import owner_of
from chorus.server.http.bodies import RequestBody
from chorus.server.http.reading import read
from chorus.server.http.routes import Route, posted
from chorus.server.http.wire import read_body, send_json
from chorus.storage import base
from chorus.storage.behind import Key, WriteBehind
from chorus.storage.records import Conversation, Item, Notes
from chorus.wirejson import JSON

MAX_NEW_ITEMS: Final = 20
"""Items of one request, as OpenAI has it."""
MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 20
"""Items of one list, as OpenAI has it."""


class ConversationBody(msgspec.Struct):
    """The body of `POST /v1/conversations`."""

    items: list[Any] | None = None
    metadata: dict[str, Any] | None = None


class MetadataBody(msgspec.Struct):
    """The body of `POST /v1/conversations/{id}`."""

    metadata: dict[str, Any] | None


class ItemsBody(msgspec.Struct):
    """The body of `POST /v1/conversations/{id}/items`."""

    items: list[Any]


class Conversations:
    """The handlers of `/v1/conversations`."""

    def __init__(self, conversations: base.Conversations, writes: WriteBehind) -> None:
        self._conversations = conversations
        self._writes = writes

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the API, below `/v1/conversations`."""
        return (
            posted("", ConversationBody, self.create, "Begin a conversation", access="client"),
            Route(
                "/{id}",
                self.conversation,
                "A conversation: read it, change its metadata, delete it",
                ("GET", "POST", "DELETE"),
                MetadataBody,
                access="client",
            ),
            Route(
                "/{id}/items", self.items, "The items of a conversation", ("GET", "POST"), ItemsBody, access="client"
            ),
            Route("/{id}/items/{item_id}", self.item, "One item of a conversation", ("GET", "DELETE"), access="client"),
        )

    async def create(self, scope: Scope, body: RequestBody[ConversationBody], send: Send) -> None:
        """Begin a conversation."""
        conversation = await self._conversations.create(
            owner_of(scope),
            new_conversation_id(),
            metadata=merged_metadata({}, body.fields.metadata or {}),
            items=_new_items(body.fields.items or []),
        )
        await send_json(send, _conversation_body(conversation))

    async def conversation(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a conversation, change its metadata, or delete it."""
        owner, id = await self._settled(scope)
        if scope["method"] == "DELETE":
            if not await self._conversations.delete(owner, id):
                raise unknown_conversation()
            await send_json(send, {"id": id, "object": "conversation.deleted", "deleted": True})
            return
        if scope["method"] == "POST":
            raw, _ = await read_body(scope, receive)
            changes = read(raw, MetadataBody).metadata

            def change(metadata: Notes) -> Notes:
                return merged_metadata(metadata, changes) if changes is not None else {}

            await send_json(send, _conversation_body(await self._conversations.update(owner, id, change)))
            return
        conversation = await self._conversations.get(owner, id)
        if conversation is None:
            raise unknown_conversation()
        await send_json(send, _conversation_body(conversation))

    async def items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add items, or list a page of them."""
        owner, id = await self._settled(scope)
        if scope["method"] == "POST":
            raw, _ = await read_body(scope, receive)
            added = _new_items(read(raw, ItemsBody).items)
            await self._conversations.append(owner, id, added)
            await send_json(send, _list(added, has_more=False))
            return
        query = QueryParams(scope["query_string"])
        page = await self._conversations.page(
            owner,
            id,
            order=page_order(query.get("order")),
            after=query.get("after"),
            limit=page_limit(query.get("limit"), DEFAULT_PAGE, MAX_PAGE),
        )
        await send_json(send, _list(page.items, has_more=page.has_more))

    async def item(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read an item, or remove it from its conversation."""
        owner, id = await self._settled(scope)
        item_id = scope["path_params"]["item_id"]
        if scope["method"] == "DELETE":
            await send_json(send, _conversation_body(await self._conversations.delete_item(owner, id, item_id)))
            return
        item = await self._conversations.item(owner, id, item_id)
        if item is None:
            raise NotFound("There is no item of this id in the conversation.", param="item_id")
        await send_json(send, msgspec.Raw(item.value))

    async def _settled(self, scope: Scope) -> tuple[str, str]:
        """Return the owner and the id of the conversation, of which no write waits any more."""
        owner, id = owner_of(scope), scope["path_params"]["id"]
        await self._writes.settled(write_key(owner, id))
        return owner, id


def new_conversation_id() -> str:
    """Return the id of a new conversation."""
    return f"conv_{secrets.token_hex(24)}"


def write_key(owner: str, conversation_id: str) -> Key:
    """Return the key under which writes of a conversation wait."""
    return "conversations", owner, conversation_id


def unknown_conversation(param: str | None = None) -> NotFound:
    """Return the error for an id that names no conversation of the caller."""
    return NotFound("There is no conversation of this id (any more).", param=param)


def merged_metadata(metadata: Mapping[str, str], changes: Mapping[str, Any]) -> Notes:
    """Return `metadata` with `changes`; null removes a key.

    Raises:
        InvalidRequest: a value is no text, or OpenAI's limits are exceeded.
    """
    merged = dict(metadata)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    check_metadata(merged)
    return merged


def _new_items(given: Sequence[JSON]) -> list[Item]:
    if len(given) > MAX_NEW_ITEMS:
        raise InvalidRequest(f"Invalid value for 'items': at most {MAX_NEW_ITEMS} items.", param="items")
    items = stored_items(given, "items")
    ids: set[str] = set()
    for position, item in enumerate(items):
        if item.id in ids:
            place = f"items[{position}].id"
            raise InvalidRequest(f"Invalid value for '{place}': another item has it.", param=place)
        ids.add(item.id)
    return items


def _conversation_body(conversation: Conversation) -> dict[str, JSON]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": conversation.metadata,
    }


def _list(items: Sequence[Item], *, has_more: bool) -> dict[str, JSON]:
    return {
        "object": "list",
        "data": [msgspec.Raw(item.value) for item in items],
        "first_id": items[0].id if items else None,
        "last_id": items[-1].id if items else None,
        "has_more": has_more,
    }
