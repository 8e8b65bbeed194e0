"""The store in this process's memory: an SQLite database without a file. It is asked on the event
loop, since a statement takes some 20 µs, and ends with its process."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

from chorus.errors import StorageUnavailable
from chorus.storage.base import WRITE_SECS, Storage
from chorus.storage.database import Over, Work, connected, transaction, unavailable
from chorus.storage.migrations import migrate
from chorus.storage.records import Retention
from chorus.storage.sql_storage import sql_storage

T = TypeVar("T")


class MemoryDatabase:
    """See `database.Database` and `base.Backend`."""

    limits_time = False

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        self._connection = connected(":memory:")
        migrate(self._connection)

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def write(
        self, work: Work[T], size: int = 0, *, secs: float | None = WRITE_SECS, over: Over | None = None
    ) -> T:
        return self._run(work)

    async def read(self, work: Work[T], *, is_single: bool = False) -> T:
        return self._run(work)

    def _run(self, work: Work[T]) -> T:
        if self._connection is None:
            raise StorageUnavailable("The store is closed.")
        try:
            with transaction(self._connection, "IMMEDIATE"):
                return work(self._connection)
        except sqlite3.Error as problem:
            raise unavailable(problem) from problem


def memory_storage(retention: Retention) -> Storage:
    """Return a store in memory, without anything in it."""
    return sql_storage(MemoryDatabase(), retention)
