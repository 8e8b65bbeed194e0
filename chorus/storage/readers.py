"""The threads of a process that read an SQLite file, each with a connection of its own.

Above: `sqlite`. anyio's worker threads would do; a call of theirs costs 150 µs, and one of these
40: a request with a session waits for one, and a read of 20 rows takes 34 µs. A thread does all
reads that wait in one transaction: each change of the thread costs more than a read.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from chorus.errors import StorageUnavailable
from chorus.storage.base import READ_SECS
from chorus.storage.database import Work, transaction, unavailable
from chorus.storage.pending import Pending, settle_all

T = TypeVar("T")

_THREADS: Final = 4
"""Reads at a time; 20 rows take 34 µs, so that more threads would wait for the GIL."""
_MAX_WAITING: Final = 256
"""Reads that have not ended: more than `_THREADS` where the disk is slow, or hangs."""
_GROUP: Final = 16
"""Reads in one transaction at most: about 1 ms of work, for which the first of them waits."""


class Readers:
    """Reads through connections that `connect` makes.

    A connection is made again after an error, and when `file` returns something else: another file
    is there.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], file: Callable[[], object] = lambda: None) -> None:
        self._connect = connect
        self._file = file
        self._reads: SimpleQueue[Pending | None] = SimpleQueue()
        self._waiting = 0
        self._is_closed = False
        self._lock = threading.Lock()
        # daemons: a disk that hangs must not hold up the end of the process
        names = [f"chorus-storage-reader-{number}" for number in range(_THREADS)]
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    async def read(self, work: Work[T], *, is_single: bool = False) -> T:
        """Run `work`, which only reads, on one state of the database. `is_single`: it is one
        statement.

        Raises:
            TimeoutError: it takes longer than `READ_SECS`.
            StorageUnavailable: as many reads wait as may, or the database failed.
        """
        read = Pending(work, is_single=is_single)
        with self._lock:
            if self._is_closed:
                raise StorageUnavailable("The store is closed.")
            if self._waiting >= _MAX_WAITING:
                raise StorageUnavailable("The disk of the database does not answer.")
            self._waiting += 1
        self._reads.put(read)
        result: T = await read.result(READ_SECS)
        return result

    def close(self, within_secs: float) -> None:
        """End the threads, after the reads that wait. Those that take longer than `within_secs` go
        on without us."""
        with self._lock:
            self._is_closed = True
        for _ in self._threads:
            self._reads.put(None)
        until = time.monotonic() + within_secs
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        file: object = None
        while reads := self._next():
            wanted = [read for read in reads if not read.done.done()]
            if wanted:
                current = self._file()
                if connection is not None and file != current:
                    _close(connection)
                    connection = None
                file = current
                connection = self._do(wanted, connection)
            with self._lock:
                self._waiting -= len(reads)
            settle_all(wanted)
            del reads, wanted  # what they hold would live until the next read
        _close(connection)

    def _next(self) -> Sequence[Pending]:
        """Return the reads of the next transaction; none at the end."""
        reads: list[Pending] = []
        read = self._reads.get()
        with suppress(Empty):
            while read is not None:
                reads.append(read)
                if len(reads) == _GROUP:
                    return reads
                read = self._reads.get_nowait()
            if reads:
                self._reads.put(None)  # this thread ends when it has done these
        return reads

    def _do(self, reads: Sequence[Pending], connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        """Do `reads` in one transaction; returns the connection for the next ones. Where the
        database fails at one of several, each is done again, and fails for itself."""
        try:
            if connection is None:
                connection = self._connect()
            if len(reads) == 1 and reads[0].is_single:
                reads[0].run(connection)
                return connection
            with transaction(connection, "DEFERRED"):  # one state for all statements of a read
                for read in reads:
                    read.run(connection)
        except sqlite3.Error as problem:
            _close(connection)
            connection = None
            if len(reads) > 1:
                for read in reads:
                    connection = self._do([read], connection)
            else:
                reads[0].fail(unavailable(problem))
        return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()
