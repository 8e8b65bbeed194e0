"""Tests in several processes that are forked when they have been collected: `pytest --forks auto`.

Each process of pytest-xdist collects all tests for itself, which takes 15 s of CPU and the memory
of all of them; here it is done once. A process takes file after file from a queue, so that tests of
one file share what their module has started.

    collected ── fork ──▶ process ──┐ takes the next file: a number from the pipe `queue`
        ▲                    ▲      │
        │                    └──────┘
        └── pipe: what came of each test, which this process tells all plugins
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.capture import FDCapture

from .zygote import leave

_NUMBER: Final = 4
"""Bytes of a file's number in the queue."""
_Files = list[list[pytest.Item]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forks", metavar="N", help="run the tests in N processes, or `auto`: two for each core")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    """Run the tests, where `--forks` was given; else None, and pytest does."""
    given = session.config.getoption("forks")
    if given is None or session.config.option.collectonly or session.testsfailed:
        return None
    # they wait for processes, sockets and time limits as much as they compute
    count = 2 * (os.cpu_count() or 1) if given == "auto" else int(given)
    files = [list(items) for _, items in itertools.groupby(session.items, lambda item: item.path)]
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    children = _Children(session, files, count)
    try:
        children.follow()
    finally:
        children.end()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


class _Child:
    """A process that runs tests, and the one that it runs at the moment."""

    def __init__(self, pid: int, reads: Connection) -> None:
        self.pid, self.reads = pid, reads
        self.test: tuple[str, Any] | None = None


class _Children:
    """The processes, as the one that has forked them sees them."""

    def __init__(self, session: pytest.Session, files: _Files, count: int) -> None:
        """Fork `count` of them."""
        self._session, self._hook = session, session.config.hook
        self._queue, numbers = os.pipe()
        os.set_blocking(numbers, False)
        text = b"".join(number.to_bytes(_NUMBER) for number in range(len(files)))
        assert os.write(numbers, text) == len(text), "more files than a pipe holds"
        os.close(numbers)
        sys.stdout.flush()
        sys.stderr.flush()
        self._running = {child.reads: child for child in (self._fork(number, files) for number in range(count))}

    def follow(self) -> None:
        """Tell what comes of the tests, until there are none."""
        while self._running:
            for reads in wait(list(self._running)):
                assert isinstance(reads, Connection)
                child = self._running[reads]
                try:
                    self._take(child, reads.recv())
                except EOFError:
                    del self._running[reads]
                    self._ended(child)
            if self._session.shouldfail or self._session.shouldstop:
                return

    def end(self) -> None:
        """End those that still run, each with what its tests have started."""
        os.close(self._queue)
        for child in self._running.values():
            os.kill(child.pid, signal.SIGINT)
        for child in self._running.values():
            with contextlib.suppress(EOFError):
                while True:  # a pipe that is full would hold it
                    child.reads.recv()
            os.waitpid(child.pid, 0)

    def _fork(self, number: int, files: _Files) -> _Child:
        reads, writes = Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            reads.close()
            with writes:
                _run(self._session, _taken(self._queue, files), writes, f"fork{number}")
            leave(0)
        writes.close()
        return _Child(pid, reads)

    def _take(self, child: _Child, message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "test":
            child.test = value
        elif kind == "report":
            report = self._hook.pytest_report_from_serializable(config=self._session.config, data=value)
            self._hook.pytest_runtest_logreport(report=report)
        elif kind == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=value)
        else:
            raise RuntimeError(value)

    def _ended(self, child: _Child) -> None:
        """Report the test as failed that was running when its process ended."""
        _, status = os.waitpid(child.pid, 0)
        child.reads.close()
        if child.test is None:
            return
        nodeid, location = child.test
        text = f"its process ended in this test ({os.waitstatus_to_exitcode(status)}); the rest of its file did not run"
        report = pytest.TestReport(nodeid, location, {}, "failed", text, "call")
        self._hook.pytest_runtest_logreport(report=report)


def _taken(queue: int, files: _Files) -> Iterator[list[pytest.Item]]:
    """The files that are left, each taken from all processes."""
    while number := os.read(queue, _NUMBER):
        yield files[int.from_bytes(number)]


def _run(session: pytest.Session, files: Iterator[list[pytest.Item]], writes: Connection, name: str) -> None:
    """Be one of the processes: run file after file, and send what comes of the tests."""
    config = session.config
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    folder: Path = factory.getbasetemp() / name
    folder.mkdir()
    factory._basetemp = folder
    _capture_apart(config)
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(_Sender(config, writes), "sender")
    try:
        for item, following in itertools.pairwise(itertools.chain(itertools.chain.from_iterable(files), [None])):
            assert item is not None
            writes.send(("test", (item.nodeid, item.location)))
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
        writes.send(("test", None))
    except KeyboardInterrupt:
        pass
    except BaseException:
        writes.send(("error", traceback.format_exc()))
    finally:
        session._setupstate.teardown_exact(None)


def _capture_apart(config: pytest.Config) -> None:
    """Give what tests print files of this process, behind the same objects: imported modules may
    hold them. What threads print between tests is nothing.
    """
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    with open(os.devnull, "wb") as nothing:
        for captured in (manager._global_capturing.out, manager._global_capturing.err):
            if isinstance(captured, FDCapture):
                with tempfile.TemporaryFile() as own:
                    os.dup2(own.fileno(), captured.tmpfile.fileno())
                os.dup2(nothing.fileno(), captured.targetfd_save)
                os.dup2(nothing.fileno(), captured.targetfd)


class _Sender:
    """Sends what a process tells its plugins to the one that has forked it."""

    def __init__(self, config: pytest.Config, writes: Connection) -> None:
        self._config, self._writes = config, writes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._writes.send(("report", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Sequence[object] | None
    ) -> None:
        of = warning_message
        sent = warnings.WarningMessage(str(of.message), of.category, of.filename, of.lineno, line=of.line)
        values = {"warning_message": sent, "when": when, "nodeid": nodeid, "location": location}
        self._writes.send(("warning", values))
