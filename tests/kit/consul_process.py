"""The agent of tests/kit/consul.py as a process of its own, on a machine of its own.

python -m tests.kit.consul_process HOST PORT
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import httpx

from .consul import FakeConsul

ROOT: Final = Path(__file__).resolve().parents[2]
PORT: Final = 8500


class AgentProcess:
    """An agent that listens at `host`; `prefix` goes before its command (`ip netns exec NAME`)."""

    def __init__(self, prefix: Sequence[str], host: str) -> None:
        self.address = f"http://{host}:{PORT}"
        self._command = [*prefix, sys.executable, "-m", "tests.kit.consul_process", host, str(PORT)]
        self._process: subprocess.Popen[bytes] | None = None

    async def until_passing(self, name: str, count: int, timeout: float = 30.0) -> None:
        """Wait until `count` instances of the service `name` pass."""
        async with httpx.AsyncClient(base_url=self.address, timeout=timeout, trust_env=False) as client:
            with anyio.fail_after(timeout):
                index = "0"
                while True:
                    asked = {"passing": "true", "index": index, "wait": "10s"}
                    answer = await client.get(f"/v1/health/service/{name}", params=asked)
                    if len(answer.json()) == count:
                        return
                    index = answer.headers["x-consul-index"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == b"serving\n", f"the agent did not start: {line!r}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


async def _serve(host: str, port: int) -> None:
    async with FakeConsul(host=host, port=port):
        print("serving", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(_serve, sys.argv[1], int(sys.argv[2]))
