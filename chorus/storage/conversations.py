"""Conversations and their items in SQL. See `base.Conversations`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from chorus.errors import InvalidRequest, NotFound
from chorus.storage.appends import COLUMNS, Append, add_items, conversation_of, size_of_item
from chorus.storage.database import Database, Work, check_size, prune, size_of, visible_from
from chorus.storage.history_cache import HistoryCache
from chorus.storage.records import (
    ID_TAKEN,
    NO_CONVERSATION,
    NO_ITEM,
    Bounds,
    Change,
    Conversation,
    History,
    Item,
    Order,
    Page,
)

T = TypeVar("T")

_HISTORY: Final = f"""
SELECT {COLUMNS}, (
    SELECT id FROM items
    WHERE conversation = named.seq AND items.seq > beyond ORDER BY items.seq LIMIT 1
), (
    SELECT CAST(group_concat(CAST(value AS TEXT), ',') AS BLOB) FROM (
        SELECT value FROM items WHERE conversation = named.seq AND seq > ifnull(beyond, 0) ORDER BY seq
    )
) FROM (
    SELECT {COLUMNS}, seq, (
        SELECT items.seq FROM items WHERE conversation = conversations.seq ORDER BY items.seq DESC LIMIT 1 OFFSET ?
    ) AS beyond FROM conversations WHERE owner = ? AND id = ? AND at >= ?
) AS named
"""
"""A conversation, and the JSON texts of its newest items in one value.

`beyond` is the row of the newest item that is too old. One row for each item would be one change of
the thread for each: SQLite is called without the GIL.
"""


class SqlConversations:
    """Conversations in `database`, as many as `bounds` let."""

    def __init__(self, database: Database, bounds: Bounds, histories: HistoryCache | None = None) -> None:
        """`histories` is for a database that other processes write, too."""
        self._database = database
        self._bounds = bounds
        # others than these are deleted by age alone, and have an age here, too
        is_bounded = bounds.max_records is not None or bounds.max_bytes is not None
        self._histories = None if is_bounded else histories

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

        def work(connection: sqlite3.Connection) -> Conversation:
            prune(connection, "conversations", self._bounds)
            if connection.execute("SELECT 1 FROM conversations WHERE id = ?", (id,)).fetchone():
                raise InvalidRequest(ID_TAKEN)
            now, size = time.time(), size_of(owner, id, user, encoded)
            cursor = connection.execute(
                "INSERT INTO conversations (owner, id, user, created_at, at, title, turns, metadata, size) "
                "VALUES (?, ?, ?, ?, ?, '', 0, ?, ?)",
                (owner, id, user, now, now, encoded, size),
            )
            assert cursor.lastrowid is not None
            grown = add_items(connection, [(cursor.lastrowid, item) for item in items])
            size += grown.get(cursor.lastrowid, (0, False))[0]
            check_size(size, self._bounds)
            connection.execute("UPDATE conversations SET size = ? WHERE seq = ?", (size, cursor.lastrowid))
            return self._changed(connection, owner, id)

        epoch = self._histories.epoch if self._histories is not None else None
        # one item may have taken the place of another
        is_known = len({item.id for item in items}) == len(items)

        def over(histories: HistoryCache, made: Conversation) -> None:
            histories.has_begun(epoch if is_known else None, made, items)

        return await self._write(id, work, len(encoded) + _bytes(items), over)

    async def get(self, owner: str, id: str) -> Conversation | None:
        return await self._database.read(lambda connection: self._get(connection, owner, id))

    async def recent(self, owner: str, user: str, limit: int) -> list[Conversation]:
        def work(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM conversations WHERE owner = ? AND user = ? AND at >= ? "
                "ORDER BY at DESC, seq DESC LIMIT ?",
                (owner, user, visible_from(self._bounds), limit),
            )
            return [conversation_of(row) for row in rows]

        return await self._database.read(work)

    async def update(self, owner: str, id: str, change: Change) -> Conversation:
        def work(connection: sqlite3.Connection) -> Conversation:
            before = self._get(connection, owner, id)
            if before is None:
                raise NotFound(NO_CONVERSATION)
            encoded = msgspec.json.encode(change(before.metadata))
            connection.execute(
                "UPDATE conversations SET size = size + ? - LENGTH(metadata), metadata = ?, at = ? WHERE id = ?",
                (len(encoded), encoded, time.time(), id),
            )
            return self._changed(connection, owner, id)

        return await self._write(id, work)

    async def delete(self, owner: str, id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            prune(connection, "conversations", self._bounds)
            cursor = connection.execute("DELETE FROM conversations WHERE owner = ? AND id = ?", (owner, id))
            return cursor.rowcount > 0

        return await self._write(id, work)

    async def append(
        self, owner: str, id: str, items: Sequence[Item], *, turns: int = 0, title: str = ""
    ) -> Conversation:
        append = Append(self._bounds, owner, id, items, turns, title)

        def over(histories: HistoryCache, after: Conversation) -> None:
            if append.has_replaced:
                histories.has_written(id)
            else:
                histories.has_appended(after, items)

        return await self._write(id, append, _bytes(items), over)

    async def page(
        self, owner: str, id: str, *, order: Order = "asc", after: str | None = None, limit: int = 20
    ) -> Page:
        def work(connection: sqlite3.Connection) -> Page:
            seq, _ = self._find(connection, owner, id)
            behind, direction = (">", "ASC") if order == "asc" else ("<", "DESC")
            where, values = "conversation = ?", [seq]
            if after is not None:
                row = connection.execute("SELECT seq FROM items WHERE conversation = ? AND id = ?", (seq, after))
                place = row.fetchone()
                if place is None:
                    raise NotFound(NO_ITEM, param="after")
                where += f" AND seq {behind} ?"
                values += place
            rows = connection.execute(
                f"SELECT id, value FROM items WHERE {where} ORDER BY seq {direction} LIMIT ?",
                (*values, limit + 1),  # one more tells whether there are more
            ).fetchall()
            return Page([Item(*row) for row in rows[:limit]], len(rows) > limit)

        return await self._database.read(work)

    async def history(self, owner: str, id: str, limit: int) -> History | None:
        histories = self._histories
        if histories is None:
            return await self._history(owner, id, limit)
        known = histories.get(owner, id, limit)
        if known is not None and known.conversation.updated_at >= visible_from(self._bounds):
            return known
        history, ticket = None, histories.reading(id)
        try:
            history = await self._history(owner, id, limit)
        finally:
            histories.has_read(ticket, history)
        return history

    async def _history(self, owner: str, id: str, limit: int) -> History | None:
        def work(connection: sqlite3.Connection) -> History | None:
            row = connection.execute(_HISTORY, (limit, owner, id, visible_from(self._bounds))).fetchone()
            if row is None:
                return None
            *columns, after, items = row
            return History(conversation_of(tuple(columns)), b"[%b]" % (items or b""), after)

        return await self._database.read(work, is_single=True)

    async def item(self, owner: str, id: str, item_id: str) -> Item | None:
        def work(connection: sqlite3.Connection) -> Item | None:
            row = connection.execute(
                "SELECT items.id, value FROM items JOIN conversations ON conversations.seq = conversation "
                "WHERE owner = ? AND conversations.id = ? AND at >= ? AND items.id = ?",
                (owner, id, visible_from(self._bounds), item_id),
            ).fetchone()
            return Item(*row) if row is not None else None

        return await self._database.read(work)

    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        def work(connection: sqlite3.Connection) -> Conversation:
            seq, _ = self._find(connection, owner, id)
            size = size_of_item(connection, seq, item_id)
            if size is None:
                raise NotFound(NO_ITEM)
            connection.execute("DELETE FROM items WHERE conversation = ? AND id = ?", (seq, item_id))
            connection.execute(
                "UPDATE conversations SET at = ?, size = size - ? WHERE seq = ?", (time.time(), size, seq)
            )
            return self._changed(connection, owner, id)

        return await self._write(id, work)

    async def _write(
        self, id: str, work: Work[T], size: int = 0, over: Callable[[HistoryCache, T], None] | None = None
    ) -> T:
        """Change the conversation of this id by `work`. `over` notes what is in it then; without it
        that is forgotten."""
        histories = self._histories
        if histories is None:
            return await self._database.write(work, size)

        def note(outcome: T | None) -> None:
            if over is None or outcome is None:
                histories.has_written(id)
            else:
                over(histories, outcome)

        histories.writing(id)
        return await self._database.write(work, size, over=note)

    def _get(self, connection: sqlite3.Connection, owner: str, id: str) -> Conversation | None:
        row = connection.execute(
            f"SELECT {COLUMNS} FROM conversations WHERE owner = ? AND id = ? AND at >= ?",
            (owner, id, visible_from(self._bounds)),
        ).fetchone()
        return conversation_of(row) if row is not None else None

    def _find(self, connection: sqlite3.Connection, owner: str, id: str) -> tuple[int, int]:
        """Return row number and size of a conversation. Raises NotFound."""
        row: tuple[int, int] | None = connection.execute(
            "SELECT seq, size FROM conversations WHERE owner = ? AND id = ? AND at >= ?",
            (owner, id, visible_from(self._bounds)),
        ).fetchone()
        if row is None:
            raise NotFound(NO_CONVERSATION)
        return row

    def _changed(self, connection: sqlite3.Connection, owner: str, id: str) -> Conversation:
        """Return the conversation after a change, when others have made room for it."""
        conversation = self._get(connection, owner, id)
        assert conversation is not None
        prune(connection, "conversations", self._bounds)
        return conversation


def _bytes(items: Sequence[Item]) -> int:
    return sum(len(item.value) for item in items)
