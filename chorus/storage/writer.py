"""The one thread of a process that writes to an SQLite file.

Above: `sqlite`. The writes that wait are done in one transaction, so that they share the cost of
it; a write is acknowledged after its commit. A caller that is cancelled only stops waiting:
its write is done whole, or not at all.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from chorus.errors import StorageUnavailable
from chorus.storage.database import Over, Work, primary_code, transaction, unavailable
from chorus.storage.pending import Pending, run_all, settle_all

T = TypeVar("T")

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Writes that may wait, and their bytes; one alone may be larger."""
_GROUP: Final = 128
"""Writes in one transaction at most: about 10 ms of work, in which no other process can write."""
GATHER_SECS: Final = 0.01
"""How long after a transaction the writes that may wait are gathered for the next.

Each transaction is a dozen changes of the thread and as many pages of the file, whether it has one
write or ten; a write that follows none does not wait.
"""

_log = structlog.get_logger("chorus.storage")


class _Refused(Exception):
    """A job of a transaction has raised something, and the transaction is undone."""


class Writer:
    """Writes through the connection that `connect` returns. It is made again after an error, and
    where `is_moved` says that its file is not the one at the path any more."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        is_moved: Callable[[], bool],
        begun: Callable[[sqlite3.Connection], None] = lambda connection: None,
    ) -> None:
        """`begun` is called in each transaction, which holds the lock for writing then."""
        self._connect = connect
        self._is_moved = is_moved
        self._begun = begun
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[Pending] = deque()
        self._bytes = 0
        self._is_closing = False
        self._is_gathering = self._is_urgent = False
        """Whether the thread waits for the end of `GATHER_SECS`, and whether a write waits that may
        not."""
        self._ended_at = 0.0
        self._changed = threading.Condition()
        # a daemon: a disk that hangs must not hold up the end of the process
        self._thread = threading.Thread(target=self._run, name="chorus-storage-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T], size: int, secs: float | None = None, over: Over | None = None) -> T:
        """Run `work` in a transaction; returns after its commit. `over` is called in any case.

        Raises:
            TimeoutError: that takes longer than `secs`; it may be done still.
            StorageUnavailable: as many writes wait as may, or the database failed.
        """
        job = Pending(work, size, over=over)
        try:
            self._add(job)
        except StorageUnavailable:
            if over is not None:
                over(None)
            raise
        result: T = await job.result(secs)
        return result

    def close(self, within_secs: float) -> bool:
        """Do the writes that wait, and end the thread. False where that takes longer than
        `within_secs`; it then goes on without us."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(within_secs)
        return not self._thread.is_alive()

    def _add(self, job: Pending) -> None:
        """Let `job` wait for its turn. Raises StorageUnavailable."""
        may_wait = job.may_wait
        with self._changed:
            if self._is_closing:
                raise StorageUnavailable("The store is closed.")
            has_room = not self._waiting or self._bytes + job.size <= MAX_WAITING_BYTES
            if len(self._waiting) >= MAX_WAITING or not has_room:
                raise StorageUnavailable("The disk of the database does not keep up: too many writes wait for it.")
            self._waiting.append(job)
            self._bytes += job.size
            self._is_urgent = self._is_urgent or not may_wait
            if not (may_wait and self._is_gathering):
                self._changed.notify()

    def _run(self) -> None:
        while jobs := self._next():
            self._do(jobs)
            self._ended_at = time.monotonic()
            settle_all(jobs)
            del jobs  # what they hold would live until the next write
        self._disconnect()

    def _next(self) -> Sequence[Pending]:
        """Return the jobs of the next transaction; none at the end."""
        with self._changed:
            self._is_gathering = True
            while not self._is_urgent and not self._is_closing and (left := self._gathering_secs()) > 0:
                self._changed.wait(left)
            self._is_gathering = False
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]
            self._bytes -= sum(job.size for job in jobs)
            self._is_urgent = self._is_urgent and not all(job.may_wait for job in self._waiting)
            return jobs

    def _gathering_secs(self) -> float:
        """How long writes are gathered still."""
        return self._ended_at + GATHER_SECS - time.monotonic()

    def _do(self, jobs: Sequence[Pending]) -> None:
        """Run `jobs` in one transaction.

        One that the database fails at is done again job by job, so that each fails for itself; but
        not where the lock is held, which each would wait for.
        """
        try:
            self._transact(jobs)
        except Exception as problem:
            is_held = primary_code(problem) == sqlite3.SQLITE_BUSY
            if not is_held:
                self._disconnect()
            if len(jobs) > 1 and not is_held:
                for job in jobs:
                    self._do([job])
                return
            _log.warning("storage: a write failed", writes=len(jobs), problem=repr(problem))
            for job in jobs:
                job.fail(unavailable(problem))  # each raises an error of its own

    def _transact(self, jobs: Sequence[Pending]) -> None:
        """Run `jobs` in one transaction. What a job raises undoes that job only, unless the
        database raises it."""
        if self._connection is not None and self._is_moved():
            _log.error("storage: the database file was deleted or replaced: what it had is lost, and a new one is used")
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        with suppress(_Refused), transaction(connection, "IMMEDIATE"):
            self._begun(connection)
            if not run_all(connection, jobs):
                raise _Refused
            return
        if len(jobs) == 1:
            return
        # Few writes are refused; two more statements for each write would cost all of them.
        with transaction(connection, "IMMEDIATE"):
            self._begun(connection)
            for job in jobs:
                connection.execute("SAVEPOINT job")
                job.run(connection)
                if job.problem is not None:
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as problem:
                _log.warning("storage: the database could not be closed", problem=repr(problem))
