"""Replacing a file in one step, and a lock between the processes that do so.

Above: `auth.keys`, `config.migrate` and the commands that write files. Below: the file system.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PRIVATE: Final = 0o600
"""Mode of a new file that only its owner may read."""
SHARED: Final = 0o666
"""Mode of a new file that others may read as far as the umask lets them."""

LOCK_SECS: Final = 10.0
"""How long `locked` waits.

Writing a file takes milliseconds, so a lock that is held for so long is a fault.
"""
_POLL_SECS: Final = 0.02


def replace_file(path: Path, data: bytes, *, new_mode: int = PRIVATE) -> None:
    """Replace the contents of `path` by `data` in one step.

    Other processes see the old contents or the new ones; a crash leaves one of the two.

    A file that exists keeps its mode and, where the system allows it, its owner; a new one gets
    `new_mode` less the umask. A symbolic link stays one. What is no regular file (`/dev/stdout`) is
    written to directly.

    Raises:
        OSError: it cannot be written; the file is then as it was.
    """
    target = path.resolve()
    before = target.stat() if target.exists() else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        target.write_bytes(data)
        return
    # a name of its own for each writer: two of them never share a draft, and a left-over one
    # disturbs nobody
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        write_new(draft, data, new_mode if before is None else PRIVATE, before)
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def write_new(path: Path, data: bytes, mode: int, like: os.stat_result | None = None) -> None:
    """Create the file `path` with `data`, on the disk when this returns.

    `like` is the file whose owner and mode it gets.

    Raises:
        FileExistsError: there is one already.
        OSError: it cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        if like is not None:
            _copy_access(file.fileno(), path, like)
        os.fsync(file.fileno())


def _copy_access(descriptor: int, path: Path, like: os.stat_result) -> None:
    """Give the new file at `path` the owner and the mode of `like`.

    Where the group cannot be kept, its rights are not given to another one.
    """
    mode = stat.S_IMODE(like.st_mode)
    if hasattr(os, "fchown"):
        with suppress(OSError):
            os.fchown(descriptor, like.st_uid, like.st_gid)
        if os.fstat(descriptor).st_gid != like.st_gid:
            mode &= ~stat.S_IRWXG
    os.chmod(path, mode)  # after fchown, which clears some bits


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk.

    Some systems and file systems cannot, and lose nothing but the guarantee.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path` in this block: one process at a time.

    The lock is `flock` on a file `NAME.lock` beside it, which stays; the system releases it when
    its process dies. Where there is no `flock` (Windows), the file's existence is the lock: it is
    removed afterwards, and one that a killed process has left has to be removed by hand.

    Raises:
        TimeoutError: another process has held it for `LOCK_SECS`.
        OSError: the lock cannot be made.
    """
    target = path.resolve()
    lock = target.with_name(f"{target.name}.lock")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if fcntl is None else 0)
    deadline = time.monotonic() + LOCK_SECS
    while True:
        try:
            descriptor = os.open(lock, flags, PRIVATE)
            break
        except FileExistsError:
            _wait(lock, deadline)
    try:
        _give_to_owner_of(target.parent, descriptor)
        while fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(lock, deadline)
        yield
    finally:
        os.close(descriptor)
        if fcntl is None:
            lock.unlink(missing_ok=True)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """A lock that an administrator has made must not lock out the user whose files they are."""
    if hasattr(os, "fchown"):
        owner = folder.stat()
        with suppress(OSError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _wait(lock: Path, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise TimeoutError(f"another process has held {lock} for {LOCK_SECS:g} s")
    time.sleep(_POLL_SECS)
