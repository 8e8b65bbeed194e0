"""The threads of a process that read an SQLite file, each with a connection of its own.

Above: `sqlite`. anyio's worker threads would do; a call of theirs costs 150 µs, and one of these 40:
a request with a session waits for one, and a read of 20 rows takes 34 µs.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from chorus.errors import StorageUnavailable
from chorus.storage.database import Work, transaction, unavailable

T = TypeVar("T")

_THREADS: Final = 4
"""Reads at a time; 20 rows take 34 µs, so that more threads would wait for the GIL."""
_MAX_WAITING: Final = 256
"""Reads that have not ended: more than `_THREADS` where the disk is slow, or hangs."""


class _Read:
    """One read, and the future of its caller."""

    __slots__ = ("done", "loop", "outcome", "problem", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Any] = self.loop.create_future()
        self.outcome: Any = None
        self.problem: Exception | None = None

    def settle(self) -> None:
        """Wake the caller. Runs in its event loop."""
        if self.done.done():  # it was cancelled
            return
        if self.problem is not None:
            self.done.set_exception(self.problem)
        else:
            self.done.set_result(self.outcome)


class Readers:
    """Reads through connections that `connect` makes, each in a transaction of its own. A connection
    is made again after an error, and when `file` returns something else: another file is there."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], file: Callable[[], object] = lambda: None) -> None:
        self._connect = connect
        self._file = file
        self._reads: SimpleQueue[_Read | None] = SimpleQueue()
        self._waiting = 0
        self._is_closed = False
        self._lock = threading.Lock()
        # daemons: a disk that hangs must not hold up the end of the process
        names = [f"chorus-storage-reader-{number}" for number in range(_THREADS)]
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads, on one state of the database.

        Raises:
            StorageUnavailable: as many reads wait as may, or the database failed.
        """
        read = _Read(work)
        with self._lock:
            if self._is_closed:
                raise StorageUnavailable("The store is closed.")
            if self._waiting >= _MAX_WAITING:
                raise StorageUnavailable("The disk of the database does not answer.")
            self._waiting += 1
        self._reads.put(read)
        result: T = await read.done
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
        while (read := self._reads.get()) is not None:
            if not read.done.cancelled():
                current = self._file()
                if connection is not None and file != current:
                    _close(connection)
                    connection = None
                file = current
                connection = self._do(read, connection)
            with self._lock:
                self._waiting -= 1
            with suppress(RuntimeError):  # its event loop is closed, and nobody waits
                read.loop.call_soon_threadsafe(read.settle)
            del read  # what it holds would live until the next one
        _close(connection)

    def _do(self, read: _Read, connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        """Run one read; returns the connection for the next one."""
        try:
            if connection is None:
                connection = self._connect()
            with transaction(connection, "DEFERRED"):  # one state for all statements of `work`
                read.outcome = read.work(connection)
        except sqlite3.Error as problem:
            _close(connection)
            read.problem = unavailable(problem)
            return None
        except Exception as problem:  # its caller's, such as NotFound
            read.problem = problem
        return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()
