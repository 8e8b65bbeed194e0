"""The parent of `chorus serve --workers`: one listening socket, several processes (A8, C12, O2).

uvicorn's own `Multiprocess` is not used: it runs only its own `Server`; it starts a dead worker
again at once and for ever, and waits for a stopping one without end; a SIGKILL of it leaves
orphans; and its SIGHUP replaces processes, with all they remember, where ours reread the file.

The parent and each worker hold the two ends of a socket, the worker's channel. A worker writes one
byte when it answers; the parent writes the numbers of the signals it got. Who reads its end knows
that the other one is gone: the parent that a worker died, a worker that it has become an orphan and
has to stop. Signals themselves are blocked in workers, because a terminal's Ctrl-C and systemd's
SIGTERM go to every process, and what the parent passes on would count as the second one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec

from chorus.config import Config
from chorus.config.limits import LimitsConfig
from chorus.errors import ChorusError
from chorus.process_secret import KEY_VARIABLE
from chorus.secret_files import SUFFIX
from chorus.serving.configuration import warn
from chorus.serving.server import listen, make_server, with_options
from chorus.serving.supervisor import Supervisor
from chorus.serving.worker import Assignment
from chorus.tasks import surviving
from chorus.telemetry.shared import forget

_KILL_AFTER_SECS = 5.0
"""A worker that cancels its last requests at the end of its drain time needs a moment to end."""

_EXIT_SECS = 5.0
"""How long a process may take from closing its channel, the last thing that it does, to its end."""

_LONGEST_WAIT_SECS = 3600.0
"""The system takes no number of seconds, however large."""

_AFTER_FAILURE_SECS = 0.5
"""How long the supervisor rests where the system does not let it wait."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])}


def run_workers(config: Config, assignment: Assignment, count: int, announcement: str) -> int:
    """Serve `config` with `count` processes until a signal stops them.

    Return the exit code. Each of them begins as `assignment` says.

    Raises:
        ConfigError, ChorusError: as one process would, or this system cannot run several.
    """
    if not hasattr(signal, "pthread_sigmask"):
        raise ChorusError("several workers are not supported on this system; leave `--workers` out")
    config = with_options(
        config, assignment.host, assignment.port, require_auth=assignment.require_auth, watch=assignment.watch
    )
    make_server(config, None)  # what cannot be served is refused here, once
    listener, address = listen(config)
    if not config.storage.is_shared:
        warn(
            f"each of the {count} workers remembers for itself, so that another one does not know the id of a response; "
            "with a file or a Redis as `[storage] url` they remember together."
        )
    if config.limits != LimitsConfig() and config.storage.redis is None:
        warn(
            f"each of the {count} workers counts [limits] by itself, so up to {count} times as much gets through; "
            "with a Redis as `[storage] url` they count together."
        )
    stop_secs = config.server.lame_duck_secs + config.server.drain_timeout_secs + _KILL_AFTER_SECS
    with (
        listener,
        tempfile.TemporaryDirectory(prefix="chorus-metrics-", ignore_cleanup_errors=True) as folder,
        selectors.DefaultSelector() as selector,
        _caught() as signals,
    ):
        assignment = msgspec.structs.replace(assignment, listener=listener.fileno(), metrics=folder)
        announce = partial(print, announcement.format(address=address), flush=True)
        starter = _Starter(assignment, listener, announce, selector)
        supervisor = Supervisor(count, starter, stop_secs=stop_secs, now=time.monotonic)
        selector.register(signals, selectors.EVENT_READ)
        supervisor.tick()
        while not supervisor.is_over:
            with surviving("a round of the supervisor failed"):
                _turn(supervisor, selector, signals, Path(folder))
    return supervisor.exit_code


def _turn(supervisor: Supervisor, selector: selectors.BaseSelector, signals: socket.socket, metrics: Path) -> None:
    """Wait for what happens next, and do what comes of it.

    What one event raises does not keep the others from being handled.
    """
    wait = min(max(supervisor.next_at - time.monotonic(), 0), _LONGEST_WAIT_SECS)
    try:
        events = selector.select(wait)
    except Exception:
        time.sleep(_AFTER_FAILURE_SECS)
        raise
    for key, _ in events:
        with surviving("an event of the supervisor failed"):
            if key.data is None:
                for number in signals.recv(64):
                    supervisor.signalled(number)
            else:
                _read_channel(key.data, supervisor, selector, metrics)
    supervisor.tick()


def _read_channel(process: _Process, supervisor: Supervisor, selector: selectors.BaseSelector, metrics: Path) -> None:
    """Pass on what a worker says, or that it is gone."""
    if process.read_ready():
        supervisor.ready(process.number)
        return
    selector.unregister(process.channel)
    supervisor.ended(process.number, process.close())
    forget(metrics, process.number)


class _Starter:
    """Starts workers that hold `listener`."""

    def __init__(
        self,
        assignment: Assignment,
        listener: socket.socket,
        announce: Callable[[], None],
        selector: selectors.BaseSelector,
    ) -> None:
        self._assignment = assignment
        self._listener = listener
        self._selector = selector
        self.all_answer = announce
        # reasoning that one worker has signed comes back to another
        self._environment = dict(os.environ)
        if not self._environment.get(KEY_VARIABLE) and not self._environment.get(KEY_VARIABLE + SUFFIX):
            self._environment[KEY_VARIABLE] = secrets.token_hex(32)

    def start(self, number: int) -> _Process:
        """Return a new process, whose channel is watched."""
        process = _Process(number, self._assignment, self._listener, self._environment)
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        return process

    def stopping(self) -> None:
        """Let go of the port: it is closed when the last worker has closed it."""
        self._listener.close()


class _Process:
    """One worker, as the parent sees it."""

    def __init__(
        self, number: int, assignment: Assignment, listener: socket.socket, environment: Mapping[str, str]
    ) -> None:
        self.number = number
        self.channel, theirs = socket.socketpair()
        assignment = msgspec.structs.replace(assignment, number=number, channel=theirs.fileno())
        # a worker finds modules where this process does: in the current folder only if
        # `python -m chorus` was used
        safe = [] if sys.path[0] in ("", os.getcwd()) else ["-P"]
        command = [sys.executable, *safe, "-m", "chorus", "_worker", msgspec.json.encode(assignment).decode()]
        with theirs, _blocked():
            try:
                fds = [listener.fileno(), theirs.fileno()]
                self._process = subprocess.Popen(command, pass_fds=fds, env=environment)  # noqa: S603
            except OSError:
                self.channel.close()
                raise
        self.pid = self._process.pid

    def read_ready(self) -> bool:
        """Return whether it has reported that it answers; False when it is gone."""
        with contextlib.suppress(OSError):
            return bool(self.channel.recv(64))
        return False

    def tell(self, number: int) -> None:
        """Pass the signal `number` on."""
        with contextlib.suppress(OSError):  # it is gone, as `read_ready` is about to find out
            self.channel.send(bytes([number]))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def close(self) -> int:
        """Its exit code, now that it has closed its channel."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_SECS)
        self.kill()
        return self._process.wait()


@contextlib.contextmanager
def _caught() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of the signals can be read that have come."""
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: None)  # the number has been written
        try:
            yield reading
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # the process is ending
            signal.set_wakeup_fd(-1)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Yield a process that is started in the block never sees a signal that can be blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
