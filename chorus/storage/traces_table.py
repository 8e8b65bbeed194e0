"""Traces in SQL: a row for each write, with all runs of it. See `base.Traces`.

Each relayed request writes a trace, and few traces are read. A row for each, with an index of ids,
took 40 µs of CPU; a part of a row takes 3. So a trace is found by a look through the ids of all
writes, which stand in a small table of their own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from chorus.errors import InvalidRequest
from chorus.storage.database import Database, check_size, size_of, visible_from
from chorus.storage.records import Bounds, Trace

_NAME: Final = "traces"
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[tuple[str, str, bytes, bytes]]).decode


class SqlTraces:
    """See `base.Traces`.

    Where the bounds cut a write in two, its older runs are not shown any more.
    """

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    async def put(self, traces: Sequence[Trace]) -> None:
        """See `base.Traces.put`."""
        kept, size, is_cut, refused = self._fitting(traces)
        if kept:
            ids = "\n".join(("", *(trace.id for trace in kept), ""))
            runs = _encode([(trace.owner, trace.id, trace.events, trace.requests) for trace in kept])
            now = time.time()

            def work(connection: sqlite3.Connection) -> None:
                if is_cut:
                    self._clear(connection)
                row = (now, size, len(kept), ids)
                cursor = connection.execute(
                    "INSERT INTO trace_writes (at, size, records, ids) VALUES (?, ?, ?, ?)", row
                )
                connection.execute("INSERT INTO trace_runs (number, runs) VALUES (?, ?)", (cursor.lastrowid, runs))
                self._count(connection, len(kept), size)
                self._prune(connection)

            await self._database.write(work, len(runs))
        if refused is not None:
            raise refused

    async def get(self, owner: str | None, id: str) -> Trace | None:
        """See `base.Traces.get`."""

        def work(connection: sqlite3.Connection) -> Trace | None:
            query = "SELECT number FROM trace_writes WHERE instr(ids, ?) AND at >= ? ORDER BY number DESC LIMIT 1"
            row = connection.execute(query, (f"\n{id}\n", visible_from(self._bounds))).fetchone()
            if row is None:
                return None
            newer = "SELECT COALESCE(SUM(records), 0) FROM trace_writes WHERE number > ?"
            (place,) = connection.execute(newer, row).fetchone()
            (runs,) = connection.execute("SELECT runs FROM trace_runs WHERE number = ?", row).fetchone()
            for later, found in enumerate(_newest_first(runs)):
                if found.id == id:
                    is_shown = self._bounds.max_records is None or place + later < self._bounds.max_records
                    return found if is_shown and owner in (None, found.owner) else None
            return None

        return await self._database.read(work)

    async def recent(self, limit: int) -> list[tuple[str, bytes]]:
        """See `base.Traces.recent`."""
        most = limit if self._bounds.max_records is None else min(limit, self._bounds.max_records)
        query = (
            "SELECT runs FROM trace_runs JOIN trace_writes USING (number) WHERE at >= ? ORDER BY trace_runs.number DESC"
        )

        def work(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            found: dict[str, bytes] = {}
            for (runs,) in connection.execute(query, (visible_from(self._bounds),)):
                for trace in _newest_first(runs):
                    if len(found) == most:
                        return [*found.items()]
                    found.setdefault(trace.id, trace.events)
            return [*found.items()]

        return await self._database.read(work)

    def _fitting(self, traces: Sequence[Trace]) -> tuple[list[Trace], int, bool, InvalidRequest | None]:
        """Return those of `traces` that have room, in their order.

        The bytes of them; whether older ones have none; and the error of one that has none even
        alone.
        """
        bounds = self._bounds
        kept: list[Trace] = []
        total, is_cut, refused = 0, False, None
        for trace in reversed(traces):
            size = size_of(trace.owner, trace.id, trace.events, trace.requests)
            try:
                check_size(size, bounds)
            except InvalidRequest as problem:
                refused = problem
                continue
            is_full = bounds.max_bytes is not None and total + size > bounds.max_bytes
            if is_full or len(kept) == bounds.max_records:
                is_cut = True
                break
            kept.append(trace)
            total += size
        return kept[::-1], total, is_cut, refused

    def _clear(self, connection: sqlite3.Connection) -> None:
        """Delete all."""
        connection.execute("DELETE FROM trace_writes")
        connection.execute("DELETE FROM trace_runs")
        connection.execute("UPDATE totals SET records = 0, bytes = 0 WHERE name = ?", (_NAME,))

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Delete the oldest writes of which nothing is to be kept."""
        bounds = self._bounds
        while True:
            totals = "SELECT records, bytes FROM totals WHERE name = ?"
            records, size = connection.execute(totals, (_NAME,)).fetchone()
            oldest = "SELECT number, at, records, size FROM trace_writes ORDER BY number LIMIT 1"
            row = connection.execute(oldest).fetchone()
            if row is None:
                return
            number, at, its_records, its_size = row
            is_beyond = bounds.max_records is not None and records - its_records >= bounds.max_records
            is_large = bounds.max_bytes is not None and size > bounds.max_bytes
            if not is_beyond and not is_large and at >= visible_from(bounds):
                return
            connection.execute("DELETE FROM trace_writes WHERE number = ?", (number,))
            connection.execute("DELETE FROM trace_runs WHERE number = ?", (number,))
            self._count(connection, -its_records, -its_size)

    def _count(self, connection: sqlite3.Connection, records: int, size: int) -> None:
        """Keep the totals: triggers of the tables would cost as much as the rows."""
        change = "UPDATE totals SET records = records + ?, bytes = bytes + ? WHERE name = ?"
        connection.execute(change, (records, size, _NAME))


def _newest_first(runs: bytes) -> Iterator[Trace]:
    """Yield the runs of one write."""
    for owner, id, events, requests in reversed(_decode(runs)):
        yield Trace(owner, id, events, requests)
