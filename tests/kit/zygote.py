"""Processes that begin with `chorus` imported: the imports are most of a server's start, and the
suite starts a hundred.

A process of its own, the zygote, imports it once and forks for each order. What it forks is a
process like any other, with the arguments, environment, folder and output of its order; the start
from nothing is tested in tests/cli.

    test process ── control socket ──▶ zygote ── fork ──▶ monitor ── fork ──▶ server
         ▲                                                    │
         └──────── pipe: pid and exit code of the server ─────┘

A server with `--workers` starts its workers in the same way (`fork_workers`): they are forked by a
process that has done nothing but import. With 2 workers a server takes 1 s of CPU to start and to
stop, and 3.6 s where each process starts from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

_MAX_ORDER = 1 << 16
_MAX_DESCRIPTORS = 8
_ABOVE = 100
"""Descriptors that an order passes on are moved above this, before they get their numbers."""

_IMPORTED = (
    "chorus.cli.serve",
    "chorus.cli.demo",
    "chorus.cli.worker",
    "chorus.inference.server",
    "chorus.llm.providers.http_providers",
    "chorus.mcp.sdk",
    "chorus.demo.provider",
    "chorus.demo.models",
    "chorus.workflow.nodes.reranker",
    "chorus.workflow.nodes.majority",
    "anyio._backends._asyncio",
    "concurrent.futures.thread",
    "encodings.idna",
    "pydantic.type_adapter",
    "typer._adapters",
    "uvicorn.lifespan.on",
    "uvloop",
)
"""What most servers import at their start."""

_SMALLEST = '[[model]]\nname = "m"\napi_base = "http://127.0.0.1:9/v1"\n'


class Process:
    """A process that was forked, with what `subprocess.Popen` has for it."""

    def __init__(self, control: socket.socket, order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Send `order` to the zygote behind `control`; `descriptors` begin with its standard output
        and error.
        """
        self._told, tells = os.pipe()
        try:
            text = json.dumps(order).encode()
            assert len(text) <= _MAX_ORDER
            socket.send_fds(control, [text], [tells, *descriptors])
        finally:
            os.close(tells)
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


class Forked(Process):
    """A process of the tests."""

    def __init__(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        *,
        has_stderr: bool = False,
        output: int | None = None,
        module: str = "chorus",
        beside: int | None = None,
        pipes: Sequence[Path] = (),
    ) -> None:
        """Run `module` with `args`.

        `stdout` reads what it writes, errors included unless `has_stderr`. With `output` it writes
        to that descriptor, and `stdout` is empty. It is on the machine of tests/kit/machines.py on
        which the process `beside` runs. `pipes` are named ones, for its standard input and output:
        it begins when another process has opened them, too.
        """
        order: dict[str, Any] = {"args": list(args), "env": dict(env), "folder": str(folder), "module": module}
        order |= {"beside": beside, "pipes": [str(pipe) for pipe in pipes]}
        self.stdout: IO[bytes] = io.BytesIO()
        self.stderr: IO[bytes] | None = None
        if output is not None:
            super().__init__(zygote(), order, [output, output])
            return
        reads, writes = os.pipe()
        errors, writes_errors = os.pipe() if has_stderr else (None, os.dup(writes))
        try:
            super().__init__(zygote(), order, [writes, writes_errors])
        finally:
            os.close(writes)
            os.close(writes_errors)
        self.stdout = os.fdopen(reads, "rb")
        self.stderr = os.fdopen(errors, "rb") if errors is not None else None


class _Worker(Process):
    """A worker of `serve --workers`: what `subprocess.Popen` is to the server that starts it."""

    control: socket.socket

    def __init__(self, command: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str]) -> None:
        order = {
            "args": command[command.index("chorus") + 1 :],
            "env": dict(env),
            "folder": os.getcwd(),
            "module": "chorus",
            "descriptors": list(pass_fds),
            "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        }
        super().__init__(self.control, order, [1, 2, *pass_fds])


@functools.cache
def zygote() -> socket.socket:
    """The control socket of the zygote of this process, and of those that it forks after this call.

    It imports when the first order comes: 2 s of CPU, which `--forks` has once for all processes.
    """
    # what several send at once is read one by one: the descriptors of an order end a reading
    ours, its = socket.socketpair()
    pid = os.getpid()
    waits = f"import socket; its = socket.socket(fileno={its.fileno()}); its.recv(1, socket.MSG_PEEK) or exit()"
    command = [sys.executable, "-u", "-c", f"{waits}; from {__name__} import run; run(its.detach())"]
    process = subprocess.Popen(command, pass_fds=[its.fileno()])
    its.close()

    def end() -> None:
        ours.close()
        if os.getpid() == pid:
            process.wait()

    atexit.register(end)
    return ours


def _take_orders(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each order.

    The order in a process that has one to carry out; None when who sends them is gone.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for monitors
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, _MAX_ORDER, _MAX_DESCRIPTORS)
        if not text:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            order: dict[str, Any] = json.loads(text)
            _monitor(order, *descriptors)
            return order
        for descriptor in descriptors:
            os.close(descriptor)


def _monitor(order: Mapping[str, Any], tells: int, *descriptors: int) -> None:
    """Fork, and tell pid and exit code of the child. Returns in the child only."""
    child = os.fork()
    if child == 0:
        os.close(tells)
        _become(order, *descriptors)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all
    os.write(tells, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(tells, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(order: Mapping[str, Any], *descriptors: int) -> None:
    """Take on the arguments, environment, folder, signals, output and descriptors of the order."""
    numbers = [1, 2, *order.get("descriptors", ())]
    # none of them is in the way of another one's number
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _ABOVE) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for number, descriptor in zip(numbers, moved, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, pipe in enumerate(order.get("pipes", ())):
        opened = os.open(pipe, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    if (other := order.get("beside")) is not None:
        _move(other)
    signal.pthread_sigmask(signal.SIG_SETMASK, order.get("blocked", ()))
    os.environ.clear()
    os.environ.update(order["env"])
    if "PYTHONUNBUFFERED" not in os.environ:  # the zygote itself is unbuffered
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    os.chdir(order["folder"])
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place not in ("", *sys.path)]
    sys.path[:0] = places
    sys.argv = ["chorus", *order["args"]]
    if "--workers" in order["args"]:
        _fork_workers()


def _move(pid: int) -> None:
    """Enter the network and the file systems of the process `pid`."""
    system = ctypes.CDLL(None, use_errno=True)
    spaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in ("net", "mnt")]
    for space in spaces:
        if system.setns(space, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(space)


def _fork_workers() -> None:
    """Let the server that this process is about to be fork its workers.

    Returns in the server, and in each worker that it orders.
    """
    from chorus.serving import processes

    control, its = socket.socketpair()
    if os.fork() == 0:
        control.close()
        with open(os.devnull, "r+b") as nothing:
            for number in (1, 2):
                os.dup2(nothing.fileno(), number)
        if _take_orders(its) is None:
            os._exit(0)
        return
    its.close()
    _Worker.control = control
    processes.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=_Worker, TimeoutExpired=subprocess.TimeoutExpired
    )


def _make_service() -> None:
    """Make the objects of a server, which nobody uses: patterns are compiled, and the names of
    installed packages read, a third of what a start takes.
    """
    from chorus import config as configuration
    from chorus.server.app import build_app
    from chorus.service import Chorus
    from chorus.snapshot import workflow_problems

    config = configuration.loads(_SMALLEST, environ={}, find_problems=workflow_problems)
    build_app(Chorus(config), config)


def run(control: int) -> None:
    """Be the zygote, whose control socket is the descriptor `control`.

    Then what an order asks for.
    """
    from chorus.cli import main

    for name in _IMPORTED:
        importlib.import_module(name)
    _make_service()
    gc.collect()
    gc.freeze()  # no child looks at them again
    order = _take_orders(socket.socket(fileno=control))
    if order is None:
        return
    code: str | int | None = None
    try:
        if order["module"] == "chorus":
            main()
        else:
            runpy.run_module(order["module"], run_name="__main__")
    except SystemExit as error:
        code = error.code
    if isinstance(code, str):
        sys.exit(code)
    leave(code or 0)


def leave(code: int) -> None:
    """End as the interpreter does, but for freeing its objects: that would copy the memory of the
    zygote, half of what a server takes from its start to its end.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
