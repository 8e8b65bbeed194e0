"""Tests in several processes that are forked when they have been collected: `pytest --forks auto`.

Each process of pytest-xdist collects all tests for itself, which takes 15 s of CPU and the memory
of all of them; here it is done once. A process asks for file after file, so that tests of one file
share what their module has started.

    collected ── fork ──▶ process
        ▲                    ▲
        └──────── pipe ──────┘
          what came of each test, which this process tells all plugins; the number of the next file

Half of the processes begin at the first file, half at the last one. The tests that wait most stand
first (tests/conftest.py), so that some processes wait while others compute.
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
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import pytest
from _pytest.capture import FDCapture

from .zygote import leave, zygote

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

    def __init__(self, number: int, pid: int, pipe: Connection) -> None:
        self.pid, self.pipe = pid, pipe
        self.takes_last = number % 2 == 1
        self.test: tuple[str, Any] | None = None


class _Children:
    """The processes, as the one that has forked them sees them."""

    def __init__(self, session: pytest.Session, files: _Files, count: int) -> None:
        """Fork `count` of them."""
        self._session, self._hook = session, session.config.hook
        self._left = deque(range(len(files)))
        zygote()
        sys.stdout.flush()
        sys.stderr.flush()
        self._running: dict[Connection, _Child] = {}
        for number in range(count):
            child = self._fork(number, files)
            self._running[child.pipe] = child

    def follow(self) -> None:
        """Tell what comes of the tests, until there are none."""
        while self._running:
            for pipe in wait(list(self._running)):
                assert isinstance(pipe, Connection)
                child = self._running[pipe]
                try:
                    self._take(child, pipe.recv())
                except (EOFError, ConnectionResetError):  # or it left a number unread
                    del self._running[pipe]
                    self._ended(child)
            if self._session.shouldfail or self._session.shouldstop:
                return

    def end(self) -> None:
        """End those that still run, each with what its tests have started."""
        for child in self._running.values():
            os.kill(child.pid, signal.SIGINT)
        for child in self._running.values():
            with contextlib.suppress(EOFError, ConnectionError):
                while True:  # a full pipe would hold it, or its question
                    if child.pipe.recv()[0] == "next":
                        child.pipe.send(None)
            os.waitpid(child.pid, 0)

    def _fork(self, number: int, files: _Files) -> _Child:
        ours, its = Pipe()
        pid = os.fork()
        if pid == 0:
            for pipe in (ours, *self._running):  # it sees then when its parent ends
                pipe.close()
            with its:
                _run(self._session, _taken(its, files), its, f"fork{number}")
            leave(0)
        its.close()
        return _Child(number, pid, ours)

    def _take(self, child: _Child, message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "test":
            child.test = value
        elif kind == "next":
            with contextlib.suppress(BrokenPipeError):  # it ended meanwhile
                child.pipe.send(self._next(child))
        elif kind == "report":
            report = self._hook.pytest_report_from_serializable(config=self._session.config, data=value)
            self._hook.pytest_runtest_logreport(report=report)
        elif kind == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=value)
        else:
            raise RuntimeError(value)

    def _next(self, child: _Child) -> int | None:
        """The number of its next file; None where there is none."""
        if not self._left:
            return None
        return self._left.pop() if child.takes_last else self._left.popleft()

    def _ended(self, child: _Child) -> None:
        """Report the test as failed that was running when its process ended."""
        _, status = os.waitpid(child.pid, 0)
        child.pipe.close()
        if child.test is None:
            return
        nodeid, location = child.test
        text = f"its process ended in this test ({os.waitstatus_to_exitcode(status)}); the rest of its file did not run"
        report = pytest.TestReport(nodeid, location, {}, "failed", text, "call")
        self._hook.pytest_runtest_logreport(report=report)


def _taken(pipe: Connection, files: _Files) -> Iterator[list[pytest.Item]]:
    """The files that this process is given, as long as there are some."""
    while True:
        pipe.send(("next", None))
        if (number := pipe.recv()) is None:
            return
        yield files[number]


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
