"""SQL for the kinds of record: what they need of a database, and the words for what goes wrong.

Above: `conversations` and `tables`, the SQL of the kinds. Below: `memory` and `sqlite`, the two
databases that run it.
"""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar

from chorus.errors import InvalidRequest, StorageUnavailable
from chorus.storage.base import WRITE_SECS
from chorus.storage.records import Bounds, too_large

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""SQL to run inside a transaction that somebody else begins and ends. It may be run twice, in
another thread."""

BUSY_SECS: Final = 5.0
"""How long a process waits for another one's transaction; those take milliseconds."""
ROW_BYTES: Final = 200
"""What a row counts beside its texts: its columns, indexes and header."""

_SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "The disk of the database is full.",
    sqlite3.SQLITE_READONLY: "The database file cannot be written: it, its folder or its disk is read-only.",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged; put a copy of it, or nothing, in its place.",
    sqlite3.SQLITE_NOTADB: "The database file is damaged, or no SQLite database at all.",
    sqlite3.SQLITE_BUSY: f"Another process has held the lock of the database for {BUSY_SECS:g} s.",
    sqlite3.SQLITE_LOCKED: f"Another process has held the lock of the database for {BUSY_SECS:g} s.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
    sqlite3.SQLITE_PERM: "The database file cannot be opened: access is denied.",
    sqlite3.SQLITE_IOERR: "The disk of the database does not read or write.",
}


class GroupedWork(ABC, Generic[T]):
    """Work that a thread does together with other work of its class."""

    def __init__(self, *, may_wait: bool) -> None:
        """`may_wait`: it may wait some milliseconds for other work, where the database is busy."""
        self.may_wait = may_wait

    @abstractmethod
    def __call__(self, connection: sqlite3.Connection) -> T:
        """Do this work alone."""

    @classmethod
    @abstractmethod
    def together(cls, connection: sqlite3.Connection, works: Sequence[Self]) -> Sequence[T | Exception] | None:
        """Do `works` as if one after the other, and return what became of each. None where nothing
        has changed, and each is to be done alone."""


Over = Callable[[Any], None]
"""Called in the event loop when a write is over, before its caller goes on, and where it has left,
too. It gets what the work returned; None where that failed, or may have."""


class Database(Protocol):
    """Runs SQL in transactions."""

    async def write(
        self, work: Work[T], size: int = 0, *, secs: float | None = WRITE_SECS, over: Over | None = None
    ) -> T:
        """Run `work` in a transaction of its own, which has ended when this returns. `size` is
        the number of bytes that `work` holds. Raises StorageUnavailable, and what `work` raises:
        then nothing has changed. Where threads do it, it raises TimeoutError after `secs`, and may
        be done still. `over` is called once, where threads do it."""
        ...

    async def read(self, work: Work[T], *, is_single: bool = False) -> T:
        """Run `work`, which only reads, on one state of the database. `is_single`: it is one
        statement, which needs no transaction. Raises StorageUnavailable; TimeoutError after
        `READ_SECS` where threads do it."""
        ...


def connected(path: str, *, is_uri: bool = False) -> sqlite3.Connection:
    """Return a connection in which transactions begin and end only where we say so.

    Threads may pass it on, but only one uses it at a time.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_SECS, isolation_level=None, check_same_thread=False, uri=is_uri, cached_statements=256
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
    """One transaction around this block: committed at its end, rolled back when it raises."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors end the transaction by themselves
            connection.execute("ROLLBACK")
        raise


def primary_code(problem: Exception) -> int:
    """SQLite's result code without its details; 0 where the error is not SQLite's own."""
    code: int = getattr(problem, "sqlite_errorcode", 0)
    return code & 0xFF


def unavailable(problem: Exception) -> StorageUnavailable:
    """Return the error that callers see for `problem`, without a path and without SQL."""
    if isinstance(problem, StorageUnavailable):
        return StorageUnavailable(problem.message)
    sentence = _SENTENCES.get(primary_code(problem))
    if sentence is None:
        name = getattr(problem, "sqlite_errorname", type(problem).__name__)
        sentence = f"The database failed ({name})."
    return StorageUnavailable(sentence)


def visible_from(bounds: Bounds) -> float:
    """Return the time of the last change before which a record is too old to exist."""
    return 0.0 if bounds.max_age_secs is None else time.time() - bounds.max_age_secs


def check_size(size: int, bounds: Bounds) -> None:
    """Raise InvalidRequest for a record that has no room even alone."""
    if bounds.max_bytes is not None and size > bounds.max_bytes:
        raise InvalidRequest(too_large(size, bounds.max_bytes))


def prune(connection: sqlite3.Connection, table: str, bounds: Bounds) -> None:
    """Delete what is beyond `bounds`, oldest first."""
    if bounds.max_age_secs is not None:
        connection.execute(f"DELETE FROM {table} WHERE at < ?", (visible_from(bounds),))
    if bounds.max_records is None and bounds.max_bytes is None:
        return
    while True:
        records, size = connection.execute("SELECT records, bytes FROM totals WHERE name = ?", (table,)).fetchone()
        fits = bounds.max_records is None or records <= bounds.max_records
        if fits and (bounds.max_bytes is None or size <= bounds.max_bytes):
            return
        connection.execute(f"DELETE FROM {table} WHERE seq = (SELECT seq FROM {table} ORDER BY at, seq LIMIT 1)")


def size_of(*values: str | bytes) -> int:
    """Return the bytes that a row with these texts counts as."""
    return ROW_BYTES + sum(len(value if isinstance(value, bytes) else value.encode()) for value in values)
