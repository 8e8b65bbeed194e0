"""Responses, runs, affinities and profiles in SQL. See the protocols of `base`."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

import msgspec

from chorus.storage.database import Database, check_size, prune, size_of, visible_from
from chorus.storage.records import (
    LEASE_OVER,
    Bounds,
    Change,
    Notes,
    Profile,
    Run,
    RunStatus,
)

_RUNNING: Final = "status = 'in_progress'"


class _Table:
    """Records of one table by their owners and ids."""

    name: str

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    async def delete(self, owner: str, id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            prune(connection, self.name, self._bounds)
            cursor = connection.execute(
                f"DELETE FROM {self.name} WHERE owner = ? AND id = ?",
                (owner, id),
            )
            return cursor.rowcount > 0

        return await self._database.write(work)

    async def _put(self, owner: str, id: str, **columns: str | bytes | float) -> None:
        """Write a record, in place of the one that has this id. Raises InvalidRequest for one that
        has no room."""
        texts = [value for value in columns.values() if isinstance(value, str | bytes)]
        size = size_of(owner, id, *texts)
        check_size(size, self._bounds)

        def work(connection: sqlite3.Connection) -> None:
            self._write(connection, owner, id, size, **columns)

        await self._database.write(work, size)

    def _write(
        self, connection: sqlite3.Connection, owner: str, id: str, size: int, **columns: str | bytes | float
    ) -> None:
        values = {"owner": owner, "id": id, "at": time.time(), "size": size, **columns}
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        # deleted first, so that a record that is put again is the newest
        connection.execute(f"DELETE FROM {self.name} WHERE owner = ? AND id = ?", (owner, id))
        connection.execute(f"INSERT INTO {self.name} ({names}) VALUES ({marks})", (*values.values(),))
        prune(connection, self.name, self._bounds)

    def _row(self, connection: sqlite3.Connection, columns: str, owner: str | None, id: str) -> tuple[Any, ...] | None:
        """Return the columns of one record; None where there is none, or it is too old."""
        values: list[str | float] = [id, visible_from(self._bounds)]
        where = "id = ? AND at >= ?"
        if owner is not None:
            where, values = f"owner = ? AND {where}", [owner, *values]
        query = f"SELECT {columns} FROM {self.name} WHERE {where} ORDER BY seq DESC"
        row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
        return row


class SqlResponses(_Table):
    """See `base.Responses`."""

    name = "responses"

    async def get(self, owner: str, id: str) -> bytes | None:
        row = await self._database.read(lambda connection: self._row(connection, "value", owner, id))
        return row[0] if row is not None else None

    async def put(self, owner: str, id: str, value: bytes) -> None:
        await self._put(owner, id, value=value)


class SqlAffinities(_Table):
    """See `base.Affinities`."""

    name = "affinities"

    async def get(self, owner: str, session: str, model: str) -> str | None:
        id = _affinity_id(session, model)
        row = await self._database.read(lambda connection: self._row(connection, "replica", owner, id))
        return row[0] if row is not None else None

    async def put(self, owner: str, session: str, model: str, replica: str) -> None:
        await self._put(owner, _affinity_id(session, model), replica=replica)


def _affinity_id(session: str, model: str) -> str:
    """Return the id of a row. No session's id has a line break, since headers have none."""
    return f"{session}\n{model}"


class SqlProfiles(_Table):
    """See `base.Profiles`."""

    name = "profiles"

    async def get(self, owner: str, user: str) -> Profile | None:
        return await self._database.read(lambda connection: self._get(connection, owner, user))

    async def update(self, owner: str, user: str, change: Change) -> Profile:
        def work(connection: sqlite3.Connection) -> Profile:
            before = self._get(connection, owner, user)
            notes = msgspec.json.encode(change(before.notes if before is not None else {}))
            size = size_of(owner, user, notes)
            check_size(size, self._bounds)
            self._write(connection, owner, user, size, notes=notes)
            after = self._get(connection, owner, user)
            assert after is not None
            return after

        return await self._database.write(work)

    def _get(self, connection: sqlite3.Connection, owner: str, user: str) -> Profile | None:
        row = self._row(connection, "notes, at", owner, user)
        return Profile(msgspec.json.decode(row[0], type=Notes), row[1]) if row is not None else None


class SqlRuns(_Table):
    """See `base.Runs`."""

    name = "runs"

    def __init__(self, database: Database, bounds: Bounds, lease_secs: float) -> None:
        super().__init__(database, bounds)
        self._lease_secs = lease_secs

    async def start(self, owner: str, id: str, process: str, value: bytes) -> None:
        until = time.time() + self._lease_secs
        await self._put(
            owner,
            id,
            process=process,
            status="in_progress",
            reason="",
            leased_until=until,
            is_cancel_requested=0,
            value=value,
        )

    async def get(self, owner: str, id: str) -> Run | None:
        return await self._database.read(lambda connection: self._get(connection, owner, id))

    async def renew(self, process: str) -> set[tuple[str, str]]:
        def work(connection: sqlite3.Connection) -> set[tuple[str, str]]:
            now = time.time()
            runs = f"process = ? AND {_RUNNING}"
            stop = connection.execute(
                f"SELECT owner, id FROM runs WHERE {runs} AND (leased_until < ? OR is_cancel_requested)",
                (process, now),
            ).fetchall()
            connection.execute(
                f"UPDATE runs SET status = 'failed', reason = ?, at = ? WHERE {runs} AND leased_until < ?",
                (LEASE_OVER, now, process, now),
            )
            connection.execute(
                f"UPDATE runs SET leased_until = ?, at = ? WHERE {runs}",
                (now + self._lease_secs, now, process),
            )
            return set(stop)

        return await self._database.write(work)

    async def request_cancel(self, owner: str, id: str) -> Run | None:
        def work(connection: sqlite3.Connection) -> Run | None:
            connection.execute(
                f"UPDATE runs SET is_cancel_requested = 1 WHERE owner = ? AND id = ? AND {_RUNNING}",
                (owner, id),
            )
            return self._get(connection, owner, id)

        return await self._database.write(work)

    async def finish(self, owner: str, id: str, process: str, status: RunStatus) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            now = time.time()
            cursor = connection.execute(
                "UPDATE runs SET status = ?, at = ? "
                f"WHERE owner = ? AND id = ? AND process = ? AND {_RUNNING} AND leased_until >= ?",
                (status, now, owner, id, process, now),
            )
            return cursor.rowcount > 0

        return await self._database.write(work)

    def _get(self, connection: sqlite3.Connection, owner: str, id: str) -> Run | None:
        columns = "process, status, value, reason, is_cancel_requested, leased_until"
        row = self._row(connection, columns, owner, id)
        if row is None:
            return None
        process, status, value, reason, is_cancel_requested, leased_until = row
        run = Run(owner, id, process, status, value, reason, bool(is_cancel_requested))
        if run.status == "in_progress" and leased_until < time.time():
            return msgspec.structs.replace(run, status="failed", reason=LEASE_OVER)
        return run
