"""Conversations and their items in SQL. See `base.Conversations`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chorus.errors import InvalidRequest, NotFound
from chorus.storage.database import Database, check_size, prune, size_of, visible_from
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

_COLUMNS: Final = "owner, id, user, created_at, at, title, turns, metadata"
_ROWS: Final = 16
"""Items of one INSERT. Most exchanges have two."""
_HISTORY: Final = f"""
SELECT {_COLUMNS}, (
    SELECT id FROM items
    WHERE conversation = named.seq AND items.seq > beyond ORDER BY items.seq LIMIT 1
), (
    SELECT CAST(group_concat(CAST(value AS TEXT), ',') AS BLOB) FROM (
        SELECT value FROM items WHERE conversation = named.seq AND seq > ifnull(beyond, 0) ORDER BY seq
    )
) FROM (
    SELECT {_COLUMNS}, seq, (
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

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

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
            size += self._add(connection, cursor.lastrowid, items)
            check_size(size, self._bounds)
            connection.execute("UPDATE conversations SET size = ? WHERE seq = ?", (size, cursor.lastrowid))
            return self._changed(connection, owner, id)

        return await self._database.write(work, len(encoded) + _bytes(items))

    async def get(self, owner: str, id: str) -> Conversation | None:
        return await self._database.read(lambda connection: self._get(connection, owner, id))

    async def recent(self, owner: str, user: str, limit: int) -> list[Conversation]:
        def work(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM conversations WHERE owner = ? AND user = ? AND at >= ? "
                "ORDER BY at DESC, seq DESC LIMIT ?",
                (owner, user, visible_from(self._bounds), limit),
            )
            return [_conversation(row) for row in rows]

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

        return await self._database.write(work)

    async def delete(self, owner: str, id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            prune(connection, "conversations", self._bounds)
            cursor = connection.execute("DELETE FROM conversations WHERE owner = ? AND id = ?", (owner, id))
            return cursor.rowcount > 0

        return await self._database.write(work)

    async def append(
        self, owner: str, id: str, items: Sequence[Item], *, turns: int = 0, title: str = ""
    ) -> Conversation:
        def work(connection: sqlite3.Connection) -> Conversation:
            # Three statements: in each the thread gives up the GIL, and may wait for it after.
            last = items[-1].id if items else None
            row = connection.execute(
                f"SELECT {_COLUMNS}, seq, size, EXISTS (SELECT 1 FROM items WHERE conversation = conversations.seq "
                "AND items.id = ?) FROM conversations WHERE owner = ? AND id = ? AND at >= ?",
                (last, owner, id, visible_from(self._bounds)),
            ).fetchone()
            if row is None:
                raise NotFound(NO_CONVERSATION)
            *columns, seq, size, is_repeated = row
            before = _conversation(tuple(columns))
            size += self._add(connection, seq, items)
            check_size(size, self._bounds)
            after = msgspec.structs.replace(
                before,
                updated_at=time.time(),
                title=before.title or title,
                turns=before.turns + (0 if is_repeated else turns),
            )
            connection.execute(
                "UPDATE conversations SET at = ?, turns = ?, title = ?, size = ? WHERE seq = ?",
                (after.updated_at, after.turns, after.title, size, seq),
            )
            prune(connection, "conversations", self._bounds)
            return after

        return await self._database.write(work, _bytes(items))

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
        def work(connection: sqlite3.Connection) -> History | None:
            row = connection.execute(_HISTORY, (limit, owner, id, visible_from(self._bounds))).fetchone()
            if row is None:
                return None
            *columns, after, items = row
            return History(_conversation(tuple(columns)), b"[%b]" % (items or b""), after)

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
            size = _size_of_item(connection, seq, item_id)
            if size is None:
                raise NotFound(NO_ITEM)
            connection.execute("DELETE FROM items WHERE conversation = ? AND id = ?", (seq, item_id))
            connection.execute(
                "UPDATE conversations SET at = ?, size = size - ? WHERE seq = ?", (time.time(), size, seq)
            )
            return self._changed(connection, owner, id)

        return await self._database.write(work)

    def _get(self, connection: sqlite3.Connection, owner: str, id: str) -> Conversation | None:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM conversations WHERE owner = ? AND id = ? AND at >= ?",
            (owner, id, visible_from(self._bounds)),
        ).fetchone()
        return _conversation(row) if row is not None else None

    def _find(self, connection: sqlite3.Connection, owner: str, id: str) -> tuple[int, int]:
        """Return row number and size of a conversation. Raises NotFound."""
        row: tuple[int, int] | None = connection.execute(
            "SELECT seq, size FROM conversations WHERE owner = ? AND id = ? AND at >= ?",
            (owner, id, visible_from(self._bounds)),
        ).fetchone()
        if row is None:
            raise NotFound(NO_CONVERSATION)
        return row

    def _add(self, connection: sqlite3.Connection, seq: int, items: Sequence[Item]) -> int:
        """Add `items` to the conversation of row `seq`, and return by how many bytes it grows."""
        grown = 0
        for first in range(0, len(items), _ROWS):
            rows = items[first : first + _ROWS]
            marks = ", ".join(["(?, ?, ?)"] * len(rows))
            values = [value for item in rows for value in (seq, item.id, item.value)]
            try:
                connection.execute(f"INSERT INTO items (conversation, id, value) VALUES {marks}", values)
            except sqlite3.IntegrityError:  # an id is there already; no row of these was added
                grown += sum([_put(connection, seq, item) for item in rows])
            else:
                grown += sum([size_of(item.id, item.value) for item in rows])
        return grown

    def _changed(self, connection: sqlite3.Connection, owner: str, id: str) -> Conversation:
        """Return the conversation after a change, when others have made room for it."""
        conversation = self._get(connection, owner, id)
        assert conversation is not None
        prune(connection, "conversations", self._bounds)
        return conversation


def _conversation(row: tuple[str, str, str, float, float, str, int, bytes]) -> Conversation:
    return Conversation(*row[:7], metadata=msgspec.json.decode(row[7], type=Notes))


def _put(connection: sqlite3.Connection, seq: int, item: Item) -> int:
    """Add an item, or replace the one of its id.

    Returns by how many bytes the conversation grows.
    """
    before = _size_of_item(connection, seq, item.id) or 0
    connection.execute(
        "INSERT INTO items (conversation, id, value) VALUES (?, ?, ?) "
        "ON CONFLICT (conversation, id) DO UPDATE SET value = excluded.value",
        (seq, item.id, item.value),
    )
    return size_of(item.id, item.value) - before


def _size_of_item(connection: sqlite3.Connection, seq: int, item_id: str) -> int | None:
    row = connection.execute(
        "SELECT LENGTH(value) FROM items WHERE conversation = ? AND id = ?", (seq, item_id)
    ).fetchone()
    return row[0] + size_of(item_id) if row is not None else None


def _bytes(items: Sequence[Item]) -> int:
    return sum(len(item.value) for item in items)
