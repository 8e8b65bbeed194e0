"""Conversations in Redis. See `base.Conversations`.

`session:<id>` is a hash, `session_messages:<id>` the ids of its items in order,
`session_messages:<id>:texts` a hash of their texts, `user_sessions:<owner>:<user>` the ids of a
user's sessions by the time of their last change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import msgspec

from chorus.errors import InvalidRequest, NotFound, StorageUnavailable
from chorus.storage import redis_scripts as scripts
from chorus.storage.records import (
    ID_TAKEN,
    NO_CONVERSATION,
    NO_ITEM,
    Bounds,
    Change,
    Conversation,
    History,
    Item,
    Notes,
    Order,
    Page,
)
from chorus.storage.redis import CONTENDED, TRIES, Hash, RedisServer, fields_of, milliseconds, owned

_Fields = list[bytes]
"""Names and values of a hash in turn, as a script returns them."""


class RedisConversations:
    """Conversations in `redis`, for as long as `bounds` let."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._redis = redis
        self._ttl = milliseconds(bounds)
        self._create = redis.script(scripts.CREATE, _Fields | None)
        self._append = redis.script(scripts.APPEND, _Fields | None)
        self._update = redis.script(scripts.UPDATE, _Fields | Literal[0] | None)
        self._delete = redis.script(scripts.DELETE, int | None)
        self._delete_item = redis.script(scripts.DELETE_ITEM, _Fields | Literal[0] | None)
        self._item = redis.script(scripts.ITEM, bytes | None)
        self._page = redis.script(scripts.PAGE, list[int | bytes] | Literal[0] | None)
        self._recent = redis.script(scripts.RECENT, list[_Fields])

    async def create(
        self,
        owner: str,
        id: str,
        *,
        user: str = "",
        metadata: Mapping[str, str] | None = None,
        items: Sequence[Item] = (),
    ) -> Conversation:
        encoded = msgspec.json.encode(dict(metadata or {}))
        first = (owner, self._ttl, id, user, _index(owner, user), encoded)
        fields = await self._create(_keys(id), (*first, *_flat(items)))
        if fields is None:
            raise InvalidRequest(ID_TAKEN)
        return _conversation(fields)

    async def get(self, owner: str, id: str) -> Conversation | None:
        answer = await self._redis.command(Hash, "HGETALL", f"session:{id}")
        return _conversation(answer) if fields_of(answer).get("owner") == owner.encode() else None

    async def recent(self, owner: str, user: str, limit: int) -> list[Conversation]:
        return [_conversation(fields) for fields in await self._recent([_index(owner, user)], [limit])]

    async def update(self, owner: str, id: str, change: Change) -> Conversation:
        for _ in range(TRIES):
            before = await self.get(owner, id)
            if before is None:
                break
            texts = [msgspec.json.encode(notes) for notes in (before.metadata, change(before.metadata))]
            fields = await self._update(_keys(id), (owner, self._ttl, *texts))
            if fields != 0:  # 0: somebody else has changed it since
                return _existing(fields)
        else:
            raise StorageUnavailable(CONTENDED)
        raise NotFound(NO_CONVERSATION)

    async def delete(self, owner: str, id: str) -> bool:
        return await self._delete(_keys(id), (owner, self._ttl)) is not None

    async def append(
        self, owner: str, id: str, items: Sequence[Item], *, turns: int = 0, title: str = ""
    ) -> Conversation:
        return _existing(await self._append(_keys(id), (owner, self._ttl, turns, title, *_flat(items))))

    async def page(
        self, owner: str, id: str, *, order: Order = "asc", after: str | None = None, limit: int = 20
    ) -> Page:
        place = () if after is None else (after,)
        answer = await self._page(_keys(id), (owner, self._ttl, order, limit, *place))
        if answer is None:
            raise NotFound(NO_CONVERSATION)
        if answer == 0:
            raise NotFound(NO_ITEM, param="after")
        has_more, *texts = answer
        items = [Item(item_id.decode(), value) for item_id, value in zip(texts[::2], texts[1::2], strict=True)]
        return Page(items, bool(has_more))

    async def history(self, owner: str, id: str, limit: int) -> History | None:
        conversation = await self.get(owner, id)
        if conversation is None:
            return None
        try:
            page = await self.page(owner, id, order="desc", limit=limit)
        except NotFound:  # it was deleted in between
            return None
        after = page.items[-1].id if page.has_more else None
        return History(conversation, b"[%b]" % b",".join([item.value for item in reversed(page.items)]), after)

    async def item(self, owner: str, id: str, item_id: str) -> Item | None:
        value = await self._item(_keys(id), (owner, self._ttl, item_id))
        return Item(item_id, value) if value is not None else None

    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        fields = await self._delete_item(_keys(id), (owner, self._ttl, item_id))
        if fields == 0:
            raise NotFound(NO_ITEM)
        return _existing(fields)


def _keys(id: str) -> tuple[str, str, str]:
    return f"session:{id}", f"session_messages:{id}", f"session_messages:{id}:texts"


def _index(owner: str, user: str) -> str:
    return owned("user_sessions", owner, user)


def _flat(items: Sequence[Item]) -> chain[str | bytes]:
    return chain.from_iterable((item.id, item.value) for item in items)


def _existing(answer: Any) -> Conversation:
    """Return the conversation that a script returned. Raises NotFound where there is none."""
    if answer is None:
        raise NotFound(NO_CONVERSATION)
    return _conversation(answer)


def _conversation(answer: Any) -> Conversation:
    fields = fields_of(answer)
    return Conversation(
        owner=fields["owner"].decode(),
        id=fields["id"].decode(),
        user=fields["user"].decode(),
        created_at=float(fields["created_at"]),
        updated_at=float(fields["updated_at"]),
        title=fields["title"].decode(),
        turns=int(fields["turns"]),
        metadata=msgspec.json.decode(fields["metadata"], type=Notes),
    )
