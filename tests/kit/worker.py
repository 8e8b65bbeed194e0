"""An inference worker as a user runs it: a process of its own, reached over gRPC."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from .command import ROOT, environment
from .zygote import Forked

STARTUP_SECONDS = 60.0
STOP_SECONDS = 20.0
_READY = re.compile(r"serves at grpc://(\S+:\d+); its metrics are at (\S+)\.\n")


class WorkerProcess:
    """`python -m chorus worker` with these arguments; ready when the context is entered.

    It begins with `chorus` imported; PYTHONPATH in `env` is the path of an engine. Any free ports
    are taken.
    """

    def __init__(self, *args: str, env: Mapping[str, str] | None = None) -> None:
        self._args = ["worker", "--port", "0", "--metrics-port", "0", *args]
        self._env = dict(env or {})
        self._folder = tempfile.TemporaryDirectory(prefix="chorus-worker-")
        self._process: Forked | None = None
        self._lines: list[str] = []
        self._is_ready = threading.Event()
        self.address = ""
        """Such as 127.0.0.1:50051."""
        self.metrics_url = ""
        self.exit_code: int | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def api_base(self) -> str:
        """The address as a gateway has it."""
        return f"grpc://{self.address}"

    @property
    def log(self) -> str:
        """Everything that it wrote so far."""
        return "".join(self._lines)

    def metric(self, name: str) -> float:
        """Return the value of a metric that has the label `model` only."""
        page = httpx.get(self.metrics_url, timeout=10).text
        found = re.search(rf"^{name}\{{model=\"[^\"]*\"\}} (\S+)$", page, re.MULTILINE)
        assert found is not None, page
        return float(found[1])

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`, which is asked 50 times a second: what it looks at is in another
        process.
        """
        give_up_at = time.monotonic() + STOP_SECONDS
        while not holds():
            assert time.monotonic() < give_up_at, self.log
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once the process has ended."""
        assert self._process is not None
        self.exit_code = self._process.wait(STOP_SECONDS)
        return self.exit_code

    def __enter__(self) -> Self:
        env = environment(Path(self._folder.name), self._env)
        self._process = Forked(self._args, env, ROOT)
        threading.Thread(target=self._read, daemon=True).start()
        if not self._is_ready.wait(STARTUP_SECONDS) or not self.address:
            self.__exit__(None, None, None)
            raise AssertionError(f"the worker did not start:\n{self.log}")
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for data in self._process.stdout:
            line = data.decode()
            self._lines.append(line)
            if ready := _READY.search(line):
                self.address, self.metrics_url = ready.groups()
                self._is_ready.set()
        self._is_ready.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()
