"""Chorus as a user runs it: a process of its own, reached over a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from .ports import free_port
from .zygote import Forked

ROOT = Path(__file__).resolve().parents[2]
STARTUP_SECONDS = 60.0
"""A start takes a second; on a machine that others load, it took 20."""
STOP_SECONDS = 15.0


class ServerProcess:
    """`python -m chorus serve` with this configuration; ready when the context is entered.

        with ServerProcess(config_text) as server:
            httpx.post(server.base + "/v1/chat/completions", json={...})
        assert server.exit_code == 0

    `args` replaces `serve --config FILE --host 127.0.0.1`: `ServerProcess(args=["demo"])`. `--port`
    is always appended. `env` is added to the environment; the developer's own configuration and
    keys are kept out.
    """

    def __init__(
        self,
        config_text: str | None = None,
        *,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        startup_seconds: float = STARTUP_SECONDS,
    ) -> None:
        """`prefix` goes before the command (`["taskset", "-c", "0"]`)."""
        assert config_text is not None or args is not None, "a server needs a configuration or arguments"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.api_base = f"{self.base}/v1"
        self.exit_code: int | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="chorus-kit-")
        self.config_path = Path(self._folder.name) / "config.toml"
        if config_text is not None:
            self.config_path.write_text(config_text, encoding="utf-8")
        chosen = list(args) if args is not None else ["serve", "--config", str(self.config_path)]
        self._command = [*prefix, sys.executable, "-m", "chorus", *chosen, "--port", str(self.port)]
        if args is None:
            self._command += ["--host", "127.0.0.1"]
        # the interpreter reads some of the environment at its start only
        self._is_forked = (
            hasattr(os, "fork") and not prefix and not any(name.startswith("PYTHON") for name in env or ())
        )
        self._env = self._clean_environment() | dict(env or {})
        self._startup_seconds = startup_seconds
        self._log: list[str] = []
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that it wrote so far, standard output and error together."""
        return "".join(self._log)

    def start(self) -> Self:
        """Start it and wait until `GET /health` answers.

        AssertionError with its output when it does not.
        """
        if self._is_forked:
            self._process = Forked(self._command[3:], self._env, ROOT)
        else:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        self._reader = threading.Thread(target=self._read, name="server-log", daemon=True)
        self._reader.start()
        try:
            self._wait_healthy()
        except BaseException:
            self.kill()
            raise
        return self

    def terminate(self) -> None:
        """SIGTERM, without waiting for what comes of it; `stop` waits."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def reload(self, config_text: str) -> None:
        """Write another configuration, and ask for it by SIGHUP."""
        self.config_path.write_text(config_text, encoding="utf-8")
        os.kill(self.pid, signal.SIGHUP)

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, and the exit code; AssertionError with its output when it does not stop."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """The exit code, once it has ended by itself.

        AssertionError with its output when it does not.
        """
        assert self._process is not None
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout} s\n{self.log}") from None
        self._finish()
        assert self.exit_code is not None
        return self.exit_code

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._finish()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exit_code is None:
            self.stop()

    def _wait_healthy(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._startup_seconds
        with httpx.Client(trust_env=False, verify=False) as client:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    self._finish()
                    raise AssertionError(f"exited with {self.exit_code} at start\n{self.log}")
                try:
                    if client.get(f"{self.base}/health", timeout=1.0).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.02)  # polling with a deadline; nothing relies on its length
        raise AssertionError(f"no answer on {self.base}/health in {self._startup_seconds} s\n{self.log}")

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.append(line.decode(errors="replace"))

    def _finish(self) -> None:
        assert self._process is not None
        self.exit_code = self._process.returncode
        if self._reader is not None:
            self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def _clean_environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "LC_ALL", "CHORUS_LANG", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        home = self._folder.name
        # no upstream of the tests speaks TLS; to read the system's certificates takes 40 ms of each
        # start
        certificates = {"SSL_CERT_FILE": os.devnull}
        return env | certificates | {"HOME": home, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
