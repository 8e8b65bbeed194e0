"""The store in an SQLite file, which several processes of one machine share.

One thread writes (`writer`), others read (`readers`), each with a connection of its own. The file
is in WAL mode: readers and the writer do not wait for one another. Not for network file systems,
which have no shared memory: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import structlog

from chorus.errors import StorageUnavailable
from chorus.files import PRIVATE
from chorus.storage.base import WRITE_SECS, Storage
from chorus.storage.database import BUSY_SECS, Over, Work, connected, primary_code, unavailable
from chorus.storage.history_cache import HistoryCache
from chorus.storage.last_writer import LastWriter
from chorus.storage.migrations import migrate
from chorus.storage.readers import Readers
from chorus.storage.records import Retention
from chorus.storage.sql_storage import sql_storage
from chorus.storage.writer import Writer

T = TypeVar("T")

_PASSING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""What goes by without a change of the file: the server starts, and its writes fail until then."""
_CLOSE_SECS: Final = 10.0
"""How long closing waits for the writes that wait."""
_CLOSE_READERS_SECS: Final = 1.0
"""The same for reads, whose callers have gone."""
_PRIVATE_FOLDER: Final = 0o700
_POLL_SECS: Final = 0.02

_File = tuple[int, int]
"""Device and inode of a file."""

_log = structlog.get_logger("chorus.storage")


class SqliteDatabase:
    """See `database.Database` and `base.Backend`."""

    limits_time = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._file: _File | None = None
        self._readers: Readers | None = None
        self._last_writer = LastWriter(path)

    async def open(self) -> None:
        self._writer = await anyio.to_thread.run_sync(self._opened)
        self._readers = Readers(self._connect_reader, lambda: _file_at(self._path))

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        with anyio.CancelScope(shield=True):
            if writer is not None and not await anyio.to_thread.run_sync(writer.close, _CLOSE_SECS):
                _log.error("storage: the last writes are not on the disk yet", waited_secs=_CLOSE_SECS)
            if readers is not None:
                await anyio.to_thread.run_sync(readers.close, _CLOSE_READERS_SECS)
            self._last_writer.close()

    def epoch(self) -> int | None:
        """Return a number that stays the same while no other process writes the file, and it is the
        one at the path; None where another process has written last."""
        return self._last_writer.epoch if _file_at(self._path) == self._file else None

    async def write(
        self, work: Work[T], size: int = 0, *, secs: float | None = WRITE_SECS, over: Over | None = None
    ) -> T:
        if self._writer is None:
            if over is not None:
                over(None)
            raise StorageUnavailable("The store is closed.")
        return await self._writer.write(work, size, secs, over)

    async def read(self, work: Work[T], *, is_single: bool = False) -> T:
        if self._readers is None:
            raise StorageUnavailable("The store is closed.")
        return await self._readers.read(work, is_single=is_single)

    def _opened(self) -> Writer:
        """Return a writer for the file, which has the newest schema then.

        Raises StorageUnavailable.
        """
        try:
            self._connect().close()
        except sqlite3.Error as problem:
            if primary_code(problem) not in _PASSING:
                raise unavailable(problem) from problem
            _log.warning("storage: the database cannot be used yet", path=str(self._path), problem=repr(problem))
        return Writer(self._connect, lambda: _file_at(self._path) != self._file, self._claim)

    def _connect(self) -> sqlite3.Connection:
        """Return a connection that can write, to a file that only its owner can read.

        Raises:
            StorageUnavailable: the file is of a newer Chorus or another program's, or its folder
                cannot be made.
            sqlite3.Error: it cannot be opened or written.
        """
        make_private(self._path)
        connection = connected(str(self._path))
        try:
            _use_wal(connection)
            # A commit outlives this process, however it ends. A power failure may take those of the
            # last seconds; waiting for the disk at each commit takes 5 ms instead of 0.4.
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection)
            self._open_last_writer()
        except BaseException:
            connection.close()
            raise
        self._file = _file_at(self._path)
        return connection

    def _open_last_writer(self) -> None:
        try:
            self._last_writer.open()
        except OSError as problem:
            raise _not_opened(self._path, problem) from problem

    def _claim(self, connection: sqlite3.Connection) -> None:
        try:
            self._last_writer.claim(connection)
        except OSError as problem:
            raise StorageUnavailable("The disk of the database does not read or write.") from problem

    def _connect_reader(self) -> sqlite3.Connection:
        connection = connected(f"{self._path.absolute().as_uri()}?mode=rw", is_uri=True)
        connection.execute("PRAGMA query_only = ON")
        return connection


def sqlite_storage(path: Path, retention: Retention) -> Storage:
    """Return a store in the file at `path`.

    The file and its folder are made when the store is opened.
    """
    database = SqliteDatabase(path)
    return sql_storage(database, retention, HistoryCache(database.epoch))


def _file_at(path: Path) -> _File | None:
    """Return what tells the file at `path` from another one.

    None where there is none, or it cannot be seen.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_private(path: Path) -> None:
    """Create the file at `path`, and its folder, so that only its owner can read them. SQLite gives
    the files beside it the same mode. Raises StorageUnavailable where that is not possible.

    A file that is there is not opened: closing it would end the locks of this process, by which
    other processes see that the database is in use (fcntl(2)). They would delete the file of its
    latest changes under us.
    """
    try:
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
        except FileExistsError:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "") from None
            if not os.access(path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, "") from None
    except OSError as problem:
        raise _not_opened(path, problem) from problem
    with suppress(OSError):  # another user's file: its mode is that user's business
        path.chmod(PRIVATE)


def _not_opened(path: Path, problem: OSError) -> StorageUnavailable:
    _log.warning("storage: the database file cannot be opened", path=str(path), problem=repr(problem))
    reason = os.strerror(problem.errno) if problem.errno is not None else "unknown reason"
    return StorageUnavailable(f"The database file of [storage] url cannot be opened: {reason}.")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Put the file in WAL mode. Where another process is doing that, SQLite does not wait for it,
    whatever its time limit."""
    deadline = time.monotonic() + BUSY_SECS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if primary_code(problem) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECS)
