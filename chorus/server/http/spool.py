"""A temporary file that a request's body is written to when too much of it comes before it is known
where it goes. It has no name in the file system, and is gone with its request."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from typing import IO, Final

import anyio.to_thread

from chorus.errors import QueueFull, StorageUnavailable

MAX_SPOOLED: Final = 1024 * 1024 * 1024
"""Bytes of all temporary files of one process together."""
_PIECE: Final = 256 * 1024
"""Bytes that are written and read at a time, in a worker thread."""


class SpoolRoom:
    """How many bytes the temporary files of a server take."""

    def __init__(self, most: int = MAX_SPOOLED) -> None:
        self.most = most
        self.used = 0

    def take(self, count: int) -> None:
        """Count `count` more bytes. Raises QueueFull where there is no room for them."""
        if self.used + count > self.most:
            raise QueueFull("As many bytes of uploads wait in temporary files as may; try again later.")
        self.used += count


class Spool:
    """One temporary file. Whoever makes it closes it with `aclose()`."""

    def __init__(self, room: SpoolRoom) -> None:
        self._room = room
        self._file: IO[bytes] | None = None
        self._waiting = bytearray()
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            QueueFull: the files of the server have no room for it.
            StorageUnavailable: the file cannot be written: the disk is full, for instance.
        """
        self._room.take(len(data))
        self.size += len(data)
        self._waiting += data
        if len(self._waiting) >= _PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits to the file."""
        data = bytes(self._waiting)
        self._waiting.clear()
        try:
            await anyio.to_thread.run_sync(self._write, data)
        except OSError as problem:
            raise _unavailable() from problem

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="chorus-", buffering=0)  # noqa: SIM115 -- closed by `aclose`
        self._file.seek(0, 2)
        while data:
            data = data[self._file.write(data) :]

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes from `start` to `end`, all of which are flushed, piece by piece."""
        while start < end:
            try:
                piece = await anyio.to_thread.run_sync(self._read, start, min(_PIECE, end - start))
            except OSError as problem:
                raise _unavailable() from problem
            if not piece:  # somebody has cut it
                raise _unavailable()
            start += len(piece)
            yield piece

    def _read(self, start: int, count: int) -> bytes:
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(count)

    async def aclose(self) -> None:
        """Remove the file."""
        self._room.used -= self.size
        self.size = 0
        file, self._file = self._file, None
        if file is not None:
            # giving back the blocks of a large file takes some milliseconds
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(file.close)


def _unavailable() -> StorageUnavailable:
    return StorageUnavailable("The temporary file of an upload cannot be written or read.")
