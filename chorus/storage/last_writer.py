"""Which process wrote last to an SQLite file: a mark in a small file beside it.

Above: `sqlite`. A process writes its mark while it holds the lock for writing, before its commit.
So while the mark is its own, no other process has written since: what it knows of the file holds.
Reading the mark takes a microsecond, and no lock. A program that writes no mark, such as SQLite's
own shell, is seen at our next write, or a second later:
https://www.sqlite.org/pragma.html#pragma_data_version
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from chorus.files import PRIVATE

_MARK_BYTES: Final = 16
_SUFFIX: Final = "-writer"
_CAN_LOOK: Final = hasattr(os, "pread")
"""Windows has none: every write seems to follow another process's, and nothing is known."""
LOOK_SECS: Final = 1.0
"""Between two looks for programs that write no mark. Each is three changes of the thread."""


class LastWriter:
    """The mark beside the database file at `path`, and our own."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}{_SUFFIX}")
        self._mark = os.urandom(_MARK_BYTES)
        self._descriptor: int | None = None
        self._epoch = 0
        self._looked_at = -LOOK_SECS
        self._version: int | None = None
        """The `data_version` of our connection: it changes when others commit."""

    @property
    def epoch(self) -> int | None:
        """A number that stays the same while no other process writes; None where another one has
        written last."""
        # the number is read last: while this thread waits for the mark, the writer may change both
        return self._epoch if self._is_ours() else None

    def open(self) -> None:
        """Use the file at the path from now on. Raises OSError."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, PRIVATE)
        before, self._descriptor = self._descriptor, descriptor
        self._epoch += 1  # of another file, perhaps
        self._version, self._looked_at = None, -LOOK_SECS
        _close(before)

    def claim(self, connection: sqlite3.Connection) -> None:
        """Make the mark ours. `connection`, our only one that writes, holds the lock for that.

        Raises:
            OSError: nothing may be written then, since others would not see that something was.
        """
        assert self._descriptor is not None
        before, is_ours = self._version, self._is_ours()
        if time.monotonic() >= self._looked_at + LOOK_SECS:
            self._looked_at = time.monotonic()
            (self._version,) = connection.execute("PRAGMA data_version").fetchone()
        if not is_ours or before != self._version:
            self._epoch += 1  # before the mark: who sees our mark sees the new number
        if not is_ours:
            _write(self._descriptor, self._mark)

    def close(self) -> None:
        """Close the file."""
        before, self._descriptor = self._descriptor, None
        _close(before)

    def _is_ours(self) -> bool:
        descriptor = self._descriptor
        if descriptor is None or not _CAN_LOOK:
            return False
        try:
            return os.pread(descriptor, _MARK_BYTES, 0) == self._mark
        except OSError:
            return False


def _write(descriptor: int, mark: bytes) -> None:
    if _CAN_LOOK:
        os.pwrite(descriptor, mark, 0)
    else:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, mark)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        with suppress(OSError):
            os.close(descriptor)
