"""Processes on a core of their own, and what they cost: CPU time and resident memory from /proc
(Linux).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit import ServerProcess, free_port

ROOT = Path(__file__).resolve().parents[1]
_CORES = sorted(os.sched_getaffinity(0))

GATEWAY_CORE = _CORES[-1]
"""What is measured runs here, alone."""
LOAD_CORE = _CORES[0]
"""The load generator and the scripted upstream run here. The same core, where there is only one."""


def pin(core: int) -> None:
    """Keep this process, and what it starts from now on, on `core`."""
    os.sched_setaffinity(0, {core})


def pinned(core: int) -> list[str]:
    """What to put before a command so that it runs on `core`."""
    code = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"
    return [sys.executable, "-c", code, str(core)]


@dataclass(frozen=True)
class Cost:
    """A process as the kernel accounts for it."""

    pid: int

    def cpu_ms(self) -> float:
        """User and system time so far of all its threads that live, in milliseconds, to the
        nanosecond.
        """
        total = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e6

    def kept_waiting_ms(self) -> float:
        """How long its first thread had to wait for a core so far while others ran there, in
        milliseconds.
        """
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e6

    def rss_mb(self) -> float:
        """Resident memory now, in MB (2^20 bytes)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise LookupError("no VmRSS")

    def descriptors(self) -> int:
        """How many file descriptors are open now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextlib.contextmanager
def program(
    command: Sequence[str], *, core: int | None, port: int, env: Mapping[str, str] | None = None
) -> Iterator[Cost]:
    """`command` as a process on `core`, or on any where it is None, from when it listens on
    `port`.
    """
    whole = [*(pinned(core) if core is not None else ()), *command]
    with subprocess.Popen(whole, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_listening(port, process)
            yield Cost(process.pid)
        finally:
            process.terminate()


def module(
    name: str, *args: str, core: int | None, port: int, env: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[Cost]:
    """`python -m name args` on `core`, from when it listens on `port`."""
    return program([sys.executable, "-m", name, *args], core=core, port=port, env=env)


@contextlib.contextmanager
def scripted_upstream() -> Iterator[str]:
    """The test kit's upstream as a process on the load core; its API base."""
    port = free_port()
    with module("tests.kit", "--port", str(port), core=LOAD_CORE, port=port):
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.contextmanager
def chorus(config: str, environ: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """Chorus with this configuration on the gateway core, from when it is healthy.

    `environ` is added to its environment.
    """
    env = {"CHORUS_LOG": "warning", **(environ or {})}
    with ServerProcess(config, prefix=pinned(GATEWAY_CORE), env=env) as server:
        yield server


def _wait_listening(port: int, process: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} exited with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} does not listen on port {port}")


def run_module(name: str, *args: str, core: int) -> str:
    """`python -m name args` on `core` to its end; what it printed."""
    command: Sequence[str] = [*pinned(core), sys.executable, "-m", name, *args]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
