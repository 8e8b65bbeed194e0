"""An inference worker as a process of its own, with the echo engine: it can be killed.

python -m tests.kit.worker_process NAME PORT DELAY_SECS [OPTION=NUMBER ...] options of
`WorkerSettings`
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import structlog

from .ports import free_port
from .zygote import Forked

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """A worker of the model `name`, whose words take `delay_secs` each.

    It serves when the context is entered.
    """

    def __init__(self, name: str, *, delay_secs: float = 0.0, port: int | None = None, **options: float) -> None:
        self.port = port or free_port()
        self.metrics_port = free_port()
        self.api_base = f"grpc://127.0.0.1:{self.port}"
        given = [f"{name}={value}" for name, value in {"metrics_port": self.metrics_port, **options}.items()]
        self._args = [name, str(self.port), str(delay_secs), *given]
        self._process: Forked | None = None

    def start(self) -> Self:
        """Start it and wait until it serves."""
        self._process = Forked(self._args, os.environ, ROOT, module=__name__)
        line = self._process.stdout.readline()
        assert line == b"serving\n", f"the worker did not start: {line!r}"
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> None:
        """SIGTERM, without waiting for what comes of it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def wait(self, seconds: float = 15.0) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.terminate()
            self.wait()


async def _serve(name: str, port: int, delay_secs: float, options: dict[str, float]) -> None:
    from chorus.inference.engine import EngineSettings
    from chorus.inference.server import WorkerSettings, serving

    engine = EngineSettings(name, options={"delay_secs": delay_secs})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    whole = {key: int(value) if value.is_integer() else value for key, value in options.items()}
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with serving(WorkerSettings("echo", engine, port=port, **whole)):
            print("serving", flush=True)
            async for _ in signals:
                break


if __name__ == "__main__":
    _name, _port, _delay, *_given = sys.argv[1:]
    _options = {key: float(value) for key, _, value in (option.partition("=") for option in _given)}
    anyio.run(_serve, _name, int(_port), float(_delay), _options, backend_options={"use_uvloop": True})
