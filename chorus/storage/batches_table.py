"""Batches in SQL. See `base.Batches`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from chorus.errors import NotFound, TooManyRuns
from chorus.storage.database import Database
from chorus.storage.files_table import forget_expired
from chorus.storage.records import NO_BATCH, Batch, BatchBounds, BatchPage, LineResult

_COLUMNS: Final = ", ".join(Batch.__struct_fields__)
_MARKS: Final = ", ".join("?" * len(Batch.__struct_fields__))
_LEASED: Final = "owner = ? AND id = ? AND process = ? AND is_open"
_FREE: Final = "is_open AND leased_until < ?"
_NEVER: Final = 1e15
"""When a file expires whose batch is not over."""


class SqlBatches:
    """Batches in `database`, of each owner as many as `bounds` let."""

    def __init__(self, database: Database, bounds: BatchBounds) -> None:
        self._database = database
        self._bounds = bounds

    async def create(self, batch: Batch) -> Batch:
        values = msgspec.structs.astuple(batch)

        def work(connection: sqlite3.Connection) -> Batch:
            self._prune(connection, batch.owner)
            query = "SELECT COUNT(*) FROM batches WHERE owner = ? AND is_open"
            if connection.execute(query, (batch.owner,)).fetchone()[0] >= self._bounds.max_open:
                raise TooManyRuns(self._bounds.too_many_batches)
            connection.execute(
                f"INSERT INTO batches ({_COLUMNS}, is_open, leased_until) VALUES ({_MARKS}, 1, 0)",
                values,
            )
            return batch

        return await self._database.write(work, len(batch.value))

    async def get(self, owner: str, id: str) -> Batch | None:
        return await self._database.read(lambda connection: self._get(connection, owner, id))

    async def page(self, owner: str, *, after: str | None = None, limit: int = 20) -> BatchPage:
        def work(connection: sqlite3.Connection) -> BatchPage:
            conditions: dict[str, str | float] = {"owner = ?": owner, "created_at > ?": self._visible_from()}
            if after is not None:
                query = "SELECT seq FROM batches WHERE owner = ? AND id = ? AND created_at > ?"
                row = connection.execute(query, (owner, after, self._visible_from())).fetchone()
                if row is None:
                    raise NotFound(NO_BATCH, param="after")
                conditions["seq < ?"] = row[0]
            query = f"SELECT {_COLUMNS} FROM batches WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
            batches = [Batch(*row) for row in connection.execute(query, (*conditions.values(), limit + 1))]
            return BatchPage(batches[:limit], len(batches) > limit)

        return await self._database.read(work)

    async def request_cancel(self, owner: str, id: str) -> Batch | None:
        def work(connection: sqlite3.Connection) -> Batch | None:
            connection.execute(
                "UPDATE batches SET cancelling_at = ? WHERE owner = ? AND id = ? AND is_open AND cancelling_at = 0",
                (time.time(), owner, id),
            )
            return self._get(connection, owner, id)

        return await self._database.write(work)

    async def claim(self, process: str) -> Batch | None:
        query = f"SELECT seq FROM batches WHERE {_FREE} ORDER BY seq LIMIT 1"

        def look(connection: sqlite3.Connection) -> bool:
            return connection.execute(query, (time.time(),)).fetchone() is not None

        def work(connection: sqlite3.Connection) -> Batch | None:
            now = time.time()
            row = connection.execute(query, (now,)).fetchone()
            if row is None:  # another process was quicker
                return None
            connection.execute(
                "UPDATE batches SET process = ?, leased_until = ? WHERE seq = ?",
                (process, now + self._bounds.lease_secs, *row),
            )
            return Batch(*connection.execute(f"SELECT {_COLUMNS} FROM batches WHERE seq = ?", row).fetchone())

        # a look without the lock of the writers, since each process looks every second
        return await self._database.write(work) if await self._database.read(look) else None

    async def renew(self, process: str) -> list[Batch]:
        def work(connection: sqlite3.Connection) -> list[Batch]:
            connection.execute(
                "UPDATE batches SET leased_until = ? WHERE process = ? AND is_open",
                (time.time() + self._bounds.lease_secs, process),
            )
            query = f"SELECT {_COLUMNS} FROM batches WHERE process = ? AND is_open"
            return [Batch(*row) for row in connection.execute(query, (process,))]

        return await self._database.write(work)

    async def release(self, process: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE batches SET process = '', leased_until = 0 WHERE process = ? AND is_open",
                (process,),
            )

        await self._database.write(work)

    async def update(self, batch: Batch) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                f"UPDATE batches SET status = ?, total = ?, value = ? WHERE {_LEASED}",
                (batch.status, batch.total, batch.value, batch.owner, batch.id, batch.process),
            )
            return cursor.rowcount > 0

        return await self._database.write(work, len(batch.value))

    async def record(self, batch: Batch, results: Sequence[LineResult]) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            place = (batch.owner, batch.id, batch.process)
            if connection.execute(f"SELECT 1 FROM batches WHERE {_LEASED}", place).fetchone() is None:
                return False
            added = [result for result in results if _add(connection, batch, result)]
            failed = sum(result.is_error for result in added)
            tokens = [sum(result.tokens[kind] for result in added) for kind in range(4)]
            connection.execute(
                "UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?, "
                "cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?, "
                f"reasoning_tokens = reasoning_tokens + ?, leased_until = ? WHERE {_LEASED}",
                (len(added) - failed, failed, *tokens, time.time() + self._bounds.lease_secs, *place),
            )
            return True

        return await self._database.write(work, sum(len(result.data) for result in results))

    async def done(self, batch: Batch) -> set[int]:
        query = "SELECT number FROM pieces JOIN files ON file = files.seq WHERE owner = ? AND files.id IN (?, ?)"

        def work(connection: sqlite3.Connection) -> set[int]:
            rows = connection.execute(query, (batch.owner, batch.output_file, batch.error_file))
            return {number for (number,) in rows}

        return await self._database.read(work)

    async def finish(self, batch: Batch, keep_secs: float) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            now = time.time()
            cursor = connection.execute(
                f"UPDATE batches SET status = ?, value = ?, is_open = 0, process = '' WHERE {_LEASED}",
                (batch.status, batch.value, batch.owner, batch.id, batch.process),
            )
            if not cursor.rowcount:
                return False
            forget_expired(connection)
            connection.execute(
                "UPDATE files SET is_ready = 1, created_at = ?, expires_at = ? WHERE owner = ? AND id IN (?, ?)",
                (now, now + keep_secs, batch.owner, batch.output_file, batch.error_file),
            )
            return True

        return await self._database.write(work, len(batch.value))

    def _get(self, connection: sqlite3.Connection, owner: str, id: str) -> Batch | None:
        query = f"SELECT {_COLUMNS} FROM batches WHERE owner = ? AND id = ? AND created_at > ?"
        row = connection.execute(query, (owner, id, self._visible_from())).fetchone()
        return Batch(*row) if row is not None else None

    def _prune(self, connection: sqlite3.Connection, owner: str) -> None:
        """Delete batches that are over: those of all owners that are too old, and those of `owner`
        that are too many with the one that comes."""
        connection.execute("DELETE FROM batches WHERE NOT is_open AND created_at < ?", (self._visible_from(),))
        connection.execute(
            "DELETE FROM batches WHERE NOT is_open AND seq IN "
            "(SELECT seq FROM batches WHERE owner = ? ORDER BY seq DESC LIMIT -1 OFFSET ?)",
            (owner, self._bounds.max_batches - 1),
        )

    def _visible_from(self) -> float:
        return time.time() - self._bounds.max_age_secs


def _add(connection: sqlite3.Connection, batch: Batch, result: LineResult) -> bool:
    """Add one line to its file. False where the line has a result."""
    query = "SELECT 1 FROM pieces JOIN files ON file = files.seq WHERE owner = ? AND files.id IN (?, ?) AND number = ?"
    if connection.execute(query, (batch.owner, batch.output_file, batch.error_file, result.number)).fetchone():
        return False
    id = batch.error_file if result.is_error else batch.output_file
    name = f"{batch.id}_{'error' if result.is_error else 'output'}.jsonl"
    connection.execute(
        "INSERT INTO files (owner, id, purpose, name, size, created_at, expires_at, is_ready) "
        "VALUES (?, ?, 'batch_output', ?, 0, ?, ?, 0) ON CONFLICT (owner, id) DO NOTHING",
        (batch.owner, id, name, time.time(), _NEVER),
    )
    (seq,) = connection.execute("SELECT seq FROM files WHERE owner = ? AND id = ?", (batch.owner, id)).fetchone()
    connection.execute("INSERT INTO pieces (file, number, value) VALUES (?, ?, ?)", (seq, result.number, result.data))
    connection.execute("UPDATE files SET size = size + ? WHERE seq = ?", (len(result.data), seq))
    return True
