"""Processes that begin with `chorus` imported: the imports are most of a server's start, and the
suite starts a hundred.

A process of its own, the zygote, imports it once and forks for each order. What it forks is a
process like any other, with the arguments, environment, folder and output of its order; the start
from nothing is tested in tests/cli.

    test process ── control socket ──▶ zygote ── fork ──▶ monitor ── fork ──▶ server
         ▲                                                    │
         └──────── pipe: pid and exit code of the server ─────┘
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_MAX_ORDER = 1 << 16


class Forked:
    """A process that was forked, with what `subprocess.Popen` has for it."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], folder: Path, *, has_stderr: bool = False) -> None:
        """Run `chorus` with `args`.

        `stdout` reads what it writes, errors included unless `has_stderr`.
        """
        output, writes = os.pipe()
        errors, writes_errors = os.pipe() if has_stderr else (None, os.dup(writes))
        self._told, tells = os.pipe()
        try:
            order = json.dumps({"args": list(args), "env": dict(env), "folder": str(folder)}).encode()
            assert len(order) <= _MAX_ORDER
            socket.send_fds(_zygote(), [order], [writes, writes_errors, tells])
        finally:
            for descriptor in (writes, writes_errors, tells):
                os.close(descriptor)
        self.stdout: IO[bytes] = os.fdopen(output, "rb")
        self.stderr: IO[bytes] | None = os.fdopen(errors, "rb") if errors is not None else None
        self._lines = b""
        self.returncode: int | None = None
        self.pid = int(self._line(None) or b"0")
        assert self.pid, "the zygote is gone"

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        code = self._code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("chorus", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None and (line := self._line(timeout)) is not None:
            os.close(self._told)
            self.returncode = int(line or b"-9")
        return self.returncode

    def _line(self, timeout: float | None) -> bytes | None:
        """The next line of the monitor, empty where it is gone.

        None when it does not come in time.
        """
        while b"\n" not in self._lines:
            if not select.select([self._told], [], [], timeout)[0]:
                return None
            part = os.read(self._told, 64)
            if not part:
                return b""
            self._lines += part
        line, _, self._lines = self._lines.partition(b"\n")
        return line


@functools.cache
def _zygote() -> socket.socket:
    """The control socket of this process's zygote, started at the first use."""
    ours, its = socket.socketpair()
    command = [sys.executable, "-u", "-c", f"from {__name__} import run; run({its.fileno()})"]
    zygote = subprocess.Popen(command, pass_fds=[its.fileno()])
    its.close()

    def end() -> None:
        ours.close()
        zygote.wait()

    atexit.register(end)
    return ours


def _take_orders(control: socket.socket) -> bool:
    """Fork for each order.

    True in a process that has one to carry out; False when the test process is gone.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for monitors
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, _MAX_ORDER, 3)
        if not order:
            return False
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            _monitor(order, *descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)


def _monitor(order: bytes, output: int, errors: int, tells: int) -> None:
    """Fork, and tell pid and exit code of the child. Returns in the child only."""
    child = os.fork()
    if child == 0:
        os.close(tells)
        _become(order, output, errors)
        return
    os.close(output)
    os.close(errors)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all
    os.write(tells, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(tells, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(order: bytes, output: int, errors: int) -> None:
    """Take on the arguments, environment, folder and output of the order."""
    wanted = json.loads(order)
    for target, descriptor in ((1, output), (2, errors)):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(wanted["env"])
    if "PYTHONUNBUFFERED" not in os.environ:  # the zygote itself is unbuffered
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    os.chdir(wanted["folder"])
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place not in ("", *sys.path)]
    sys.path[:0] = places
    sys.argv = ["chorus", *wanted["args"]]


def run(control: int) -> None:
    """Be the zygote, whose control socket is the descriptor `control`.

    Then what an order asks for.
    """
    from chorus.cli import main
    from chorus.cli import serve as _serve  # noqa: F401 - imported before the first fork

    if _take_orders(socket.socket(fileno=control)):
        main()
