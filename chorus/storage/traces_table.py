"""Traces in SQL: a row for each write, with all runs of it. See `base.Traces`.

Each relayed request writes a trace, and few traces are read. A row for each, with an index of ids,
took 40 µs of CPU; a part of a row takes 3. So a trace is found by a look through the ids of all
writes. A write is two statements: for each, two threads wait for each other several times. The
runs are compressed: they are alike, and a tenth of their bytes costs a third of the CPU.
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
from chorus.zstd import zstd

_NEWEST: Final = "(SELECT {} FROM trace_writes ORDER BY number DESC LIMIT 1)"
_INSERT: Final = f"""INSERT INTO trace_writes (at, size, records_until, bytes_until, ids, runs) VALUES (:at, :size,
    :records + COALESCE({_NEWEST.format("records_until")}, 0),
    :size + COALESCE({_NEWEST.format("bytes_until")}, 0), :ids, :runs)"""
_PRUNE: Final = f"""DELETE FROM trace_writes WHERE number < (SELECT number FROM trace_writes
    WHERE at >= :visible_from AND records_until > {_NEWEST.format("records_until")} - :max_records
    AND bytes_until - size >= {_NEWEST.format("bytes_until")} - :max_bytes ORDER BY number LIMIT 1)"""
"""Deletes the oldest writes of which nothing is to be kept: those before the first that is kept."""
_NO_BOUND: Final = 2**62
_LEVEL: Final = 1
"""Of zstd. Higher ones take longer, for hardly less."""
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
            runs = _encode([(trace.owner, trace.id, trace.events, trace.requests) for trace in kept])
            row = {
                "at": time.time(),
                "size": size,
                "records": len(kept),
                "ids": "\n".join(("", *(trace.id for trace in kept), "")),
            }
            bounds = {
                "visible_from": visible_from(self._bounds),
                "max_records": _NO_BOUND if self._bounds.max_records is None else self._bounds.max_records,
                "max_bytes": _NO_BOUND if self._bounds.max_bytes is None else self._bounds.max_bytes,
            }

            def work(connection: sqlite3.Connection) -> None:
                if is_cut:
                    connection.execute("DELETE FROM trace_writes")
                connection.execute(_INSERT, {**row, "runs": _compressed(runs)})
                connection.execute(_PRUNE, bounds)

            await self._database.write(work, len(runs))
        if refused is not None:
            raise refused

    async def get(self, owner: str | None, id: str) -> Trace | None:
        """See `base.Traces.get`."""

        def work(connection: sqlite3.Connection) -> Trace | None:
            query = """SELECT runs, records_until FROM trace_writes WHERE instr(ids, ?) AND at >= ?
                ORDER BY number DESC LIMIT 1"""
            row = connection.execute(query, (f"\n{id}\n", visible_from(self._bounds))).fetchone()
            if row is None:
                return None
            runs, records_until = row
            ((newest,),) = connection.execute("SELECT " + _NEWEST.format("records_until"))
            place = newest - records_until
            for later, found in enumerate(_newest_first(runs)):
                if found.id == id:
                    is_shown = self._bounds.max_records is None or place + later < self._bounds.max_records
                    return found if is_shown and owner in (None, found.owner) else None
            return None

        return await self._database.read(work)

    async def recent(self, limit: int) -> list[tuple[str, bytes]]:
        """See `base.Traces.recent`."""
        most = limit if self._bounds.max_records is None else min(limit, self._bounds.max_records)
        query = "SELECT runs FROM trace_writes WHERE at >= ? ORDER BY number DESC"

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


def _compressed(runs: bytes) -> bytes:
    compressed: bytes = zstd().compress(runs, _LEVEL)
    return compressed


def _decompressed(runs: bytes) -> bytes:
    decompressed: bytes = zstd().decompress(runs)
    return decompressed


def _newest_first(runs: bytes) -> Iterator[Trace]:
    """Yield the runs of one write."""
    for owner, id, events, requests in reversed(_decode(_decompressed(runs))):
        yield Trace(owner, id, events, requests)
