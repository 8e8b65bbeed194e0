"""Writing the log's lines without waiting for their reader (O1).

A pipe whose reader has stopped, a paused terminal or a disk that hangs blocks a write for as long
as it likes. So one thread writes, from a queue that is bounded by bytes; what does not fit into it
is dropped and counted.

Above: `telemetry.log`, which makes the lines.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Final

MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""Bytes of lines that wait to be written: some 20,000 requests at info. A reader that is only slow
loses nothing until then."""

FLUSH_SECS: Final = 2.0
"""How long the end of the process waits for the lines that are left."""

_LINE_BYTES: Final = 64
"""What a waiting line takes besides its text."""
_WRITE_BYTES: Final = 64 * 1024
"""How much one system call is given: what a Linux pipe holds."""
_PAUSE_SECS: Final = 0.005
"""The thread's rest after a write. What comes meanwhile is written together: a thread that wakes
for every line takes more CPU than the lines themselves."""
_NOTICE_SECS: Final = 1.0
"""How often at most the log itself reports dropped lines."""
_POLL_SECS: Final = 0.5


class LogWriter:
    """Writes lines to the descriptor of `out`, of which it holds a copy. Every method may be called
    from any thread, from a signal handler, and from a finalizer that interrupts another call."""

    def __init__(self, out: IO[str], notice: Callable[[int], str], *, max_bytes: int = MAX_WAITING_BYTES) -> None:
        """`notice` makes the line that says how many were dropped.

        Raises:
            OSError, ValueError: `out` has no descriptor.
        """
        self._fd = os.dup(out.fileno())
        self._notice = notice
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # a finalizer may log while its thread holds it
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_mid_line = False
        self._reported = 0
        self._reported_at = -_NOTICE_SECS
        self.dropped = 0
        """Lines that were not written: the others were not read, or the disk was full."""
        _writers.add(self)
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Put `line` in the queue, or drop it where the queue is full. Never waits, raises
        nothing."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        size = len(data) + _LINE_BYTES
        with self._lock:
            if self._waiting + size > self._max_bytes or not self._is_running():
                self.dropped += 1
            else:
                self._waiting += size
                self._queue.put(data)

    def close(self, secs: float = FLUSH_SECS) -> None:
        """Write what is left, for at most `secs` seconds. Lines that come later are dropped."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            thread = self._thread
        atexit.unregister(self.close)
        if thread is None:
            os.close(self._fd)
        else:  # it closes the descriptor, in which it may be stuck now
            self._queue.put(None)
            thread.join(secs)

    def forked(self) -> None:
        """Begin anew in a child process: threads are not inherited, and the parent writes what
        waits."""
        self._lock = threading.RLock()
        self._queue = SimpleQueue()
        self._waiting, self._thread = 0, None

    def _is_running(self) -> bool:
        """Return whether the thread runs; it is started by the first line."""
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._run, name="chorus-log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter ends
                self._thread = None
        return self._thread is not None and not self._is_closed

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # they are for the main thread
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        is_over = False
        while not is_over:
            lines: list[bytes | None] = []
            with suppress(Empty):
                lines.append(self._queue.get(timeout=_NOTICE_SECS if self.dropped != self._reported else None))
                while True:
                    lines.append(self._queue.get_nowait())
            is_over = None in lines
            # it could not be reported, and the next lines shall be written
            with suppress(Exception):
                self._write_out([line for line in lines if line is not None])
            if not is_over:
                time.sleep(_PAUSE_SECS)
        os.close(self._fd)

    def _write_out(self, lines: list[bytes]) -> None:
        begin = 0
        while begin < len(lines):
            end, size = begin, 0
            while end < len(lines) and (not size or size + len(lines[end]) <= _WRITE_BYTES):
                size += len(lines[end])
                end += 1
            self._send(b"".join(lines[begin:end]))
            with self._lock:
                self._waiting -= size + _LINE_BYTES * (end - begin)
            begin = end
        self._report_dropped()

    def _report_dropped(self) -> None:
        """Write how many lines were dropped since the last time, when writing goes on again."""
        count, now = self.dropped - self._reported, time.monotonic()
        if count and (now - self._reported_at >= _NOTICE_SECS or self._is_closed):
            notice = self._notice(count).encode("utf-8", "backslashreplace") + b"\n"
            if self._send(notice, counts=False):
                self._reported += count
                self._reported_at = now

    def _send(self, data: bytes, *, counts: bool = True) -> bool:
        """Write `data`, however long that takes; False when it cannot be written. What is lost is
        dropped and counted."""
        lines = data.count(b"\n")
        if self._is_mid_line:
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another process that has it open made it so
                self._wait_until_writable()
            except OSError:  # the reader is gone, the disk is full
                break
        written = data[: len(data) - len(rest)]
        if written:
            self._is_mid_line = not written.endswith(b"\n")
        if rest and counts:
            with self._lock:
                self.dropped += min(bytes(rest).count(b"\n"), lines)
        return not rest

    def _wait_until_writable(self) -> None:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(_POLL_SECS * 1000)
        else:
            time.sleep(_POLL_SECS)


_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _forked() -> None:
    for writer in list(_writers):
        writer.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
