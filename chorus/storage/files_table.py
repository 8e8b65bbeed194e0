"""Files and their pieces in SQL. See `base.Files`."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from chorus.errors import InvalidRequest, NotFound
from chorus.storage.database import Database
from chorus.storage.records import (
    NO_FILE,
    READ_BYTES,
    UPLOAD_SECS,
    BatchBounds,
    FilePage,
    FilePart,
    FilePurpose,
    Order,
    StoredFile,
)

_COLUMNS: Final = "owner, id, purpose, name, size, created_at, expires_at"
_VISIBLE: Final = "is_ready AND expires_at > ?"
_MAX_PIECES: Final = 5000
"""Pieces of one part: lines of an output file may be short."""


class SqlFiles:
    """Files in `database`, of each owner as many as `bounds` let."""

    def __init__(self, database: Database, bounds: BatchBounds) -> None:
        self._database = database
        self._bounds = bounds

    async def create(self, owner: str, id: str, purpose: FilePurpose, name: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            now = time.time()
            forget_expired(connection)
            query = "SELECT COUNT(*) FROM files WHERE owner = ? AND expires_at > ?"
            if connection.execute(query, (owner, now)).fetchone()[0] >= self._bounds.max_files:
                raise InvalidRequest(self._bounds.too_many_files)
            connection.execute(
                f"INSERT INTO files ({_COLUMNS}, is_ready) VALUES (?, ?, ?, ?, 0, ?, ?, 0)",
                (owner, id, purpose, name, now, now + UPLOAD_SECS),
            )

        await self._database.write(work)

    async def add(self, owner: str, id: str, number: int, data: bytes) -> None:
        def work(connection: sqlite3.Connection) -> None:
            forget_expired(connection)
            query = "SELECT COALESCE(SUM(size), 0) FROM files WHERE owner = ? AND expires_at > ?"
            if connection.execute(query, (owner, time.time())).fetchone()[0] + len(data) > self._bounds.max_bytes:
                raise InvalidRequest(self._bounds.too_many_bytes)
            seq = _seq(connection, owner, id)
            connection.execute("INSERT INTO pieces (file, number, value) VALUES (?, ?, ?)", (seq, number, data))
            connection.execute("UPDATE files SET size = size + ? WHERE seq = ?", (len(data), seq))

        await self._database.write(work, len(data))

    async def finish(self, owner: str, id: str, keep_secs: float) -> StoredFile:
        def work(connection: sqlite3.Connection) -> StoredFile:
            seq, now = _seq(connection, owner, id), time.time()
            connection.execute(
                "UPDATE files SET is_ready = 1, created_at = ?, expires_at = ? WHERE seq = ?",
                (now, now + keep_secs, seq),
            )
            return StoredFile(*connection.execute(f"SELECT {_COLUMNS} FROM files WHERE seq = ?", (seq,)).fetchone())

        return await self._database.write(work)

    async def get(self, owner: str, id: str) -> StoredFile | None:
        query = f"SELECT {_COLUMNS} FROM files WHERE owner = ? AND id = ? AND {_VISIBLE}"

        def work(connection: sqlite3.Connection) -> StoredFile | None:
            row = connection.execute(query, (owner, id, time.time())).fetchone()
            return StoredFile(*row) if row is not None else None

        return await self._database.read(work)

    async def page(
        self,
        owner: str,
        *,
        purpose: str | None = None,
        order: Order = "desc",
        after: str | None = None,
        limit: int = 20,
    ) -> FilePage:
        def work(connection: sqlite3.Connection) -> FilePage:
            conditions: dict[str, str | float] = {"owner = ?": owner, _VISIBLE: time.time()}
            if purpose is not None:
                conditions["purpose = ?"] = purpose
            if after is not None:
                query = f"SELECT seq FROM files WHERE owner = ? AND id = ? AND {_VISIBLE}"
                row = connection.execute(query, (owner, after, time.time())).fetchone()
                if row is None:
                    raise NotFound(NO_FILE, param="after")
                conditions[f"seq {'<' if order == 'desc' else '>'} ?"] = row[0]
            query = f"SELECT {_COLUMNS} FROM files WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?"
            files = [StoredFile(*row) for row in connection.execute(query, (*conditions.values(), limit + 1))]
            return FilePage(files[:limit], len(files) > limit)

        return await self._database.read(work)

    async def read(self, owner: str, id: str, first: int = 0) -> FilePart | None:
        find = f"SELECT seq FROM files WHERE owner = ? AND id = ? AND {_VISIBLE}"

        def work(connection: sqlite3.Connection) -> FilePart | None:
            row = connection.execute(find, (owner, id, time.time())).fetchone()
            if row is None:
                return None
            pieces: list[bytes] = []
            size = 0
            query = "SELECT number, value FROM pieces WHERE file = ? AND number >= ? ORDER BY number"
            for number, value in connection.execute(query, (row[0], first)):
                if size >= READ_BYTES or len(pieces) >= _MAX_PIECES:
                    return FilePart(pieces, number)
                pieces.append(value)
                size += len(value)
            return FilePart(pieces, None)

        return await self._database.read(work)

    async def delete(self, owner: str, id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "DELETE FROM files WHERE owner = ? AND id = ? AND expires_at > ?",
                (owner, id, time.time()),
            )
            return cursor.rowcount > 0

        return await self._database.write(work)


def forget_expired(connection: sqlite3.Connection) -> None:
    """Delete one file whose time is over: one of 200 MiB takes a second or two, in which no other
    process can write."""
    connection.execute(
        "DELETE FROM files WHERE seq = (SELECT seq FROM files WHERE expires_at < ? ORDER BY expires_at LIMIT 1)",
        (time.time(),),
    )


def _seq(connection: sqlite3.Connection, owner: str, id: str) -> int:
    """Return the key of a file, finished or not. Raises NotFound."""
    row = connection.execute("SELECT seq FROM files WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    if row is None:
        raise NotFound(NO_FILE)
    seq: int = row[0]
    return seq
