"""Chorus as an application of Ray Serve, with the real Ray: `make test-ray` (485 MB)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import environments
from tests.kit import Say, ScriptedUpstream, free_port

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240.0
REPLACE_SECONDS = 60.0

CONFIG = """
[server]
allowed_hosts = ["127.0.0.1"]

[storage]
url = "memory:"

[worker]
name = "echo"
engine = "echo"
port = {port}
metrics_port = {metrics}

[[model]]
name = "echo"
provider = "grpc"
replicas = ["grpc://127.0.0.1:{port}", "grpc://127.0.0.1:{second}"]

[[model]]
name = "paced"
api_base = "{upstream}"
api_key = "test"
"""


class Served:
    """The application in a Ray of its own. `base` is the address of its proxy."""

    def __init__(self, folder: Path, upstream: str) -> None:
        # sockets below it have long names, and may have 107 bytes
        self._sessions = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
        worker, http = free_port(), free_port()
        self.base = f"http://127.0.0.1:{http}"
        self.config = folder / "config.toml"
        text = CONFIG.format(port=worker, second=worker + 1, metrics=free_port(), upstream=upstream)
        self.config.write_text(text, encoding="utf-8")
        script = folder / "run.py"
        script.write_text(RUN.format(port=http, temporary=self._sessions.name), encoding="utf-8")
        self._log = folder / "ray.log"
        self._env = {
            **os.environ,
            "CHORUS_CONFIG": str(self.config),
            "CHORUS_LOG": "warning",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'deploy' / 'ray'}",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._script = script
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until both kinds of model answer."""
        command = [environments.python("ray"), str(self._script)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if ask(self.base, "echo").status_code == 200:
                    return
            time.sleep(0.5)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """Stop Ray."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._sessions.cleanup()

    def gateways(self) -> set[int]:
        """Return the processes of the gateways."""
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return {pid for pid in pids if "Gateway" in title(pid) and self._is_ours(pid)}

    def _is_ours(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            wanted = f"CHORUS_CONFIG={self.config}".encode()
            return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False


RUN = """
import signal, threading
import ray
from ray import serve

stopped = threading.Event()
ray.init(num_cpus=6, include_dashboard=False, _temp_dir={temporary!r})
serve.start(http_options={{"host": "127.0.0.1", "port": {port}}})
from serve_app import app
serve.run(app)
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
stopped.wait()
serve.shutdown()
ray.shutdown()
"""


def title(pid: int) -> str:
    """Return what the process calls itself."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def body(model: str, *, stream: bool) -> dict[str, Any]:
    message = {"role": "user", "content": "one two three"}
    return {"model": model, "messages": [message], "stream": stream}


def ask(base: str, model: str) -> httpx.Response:
    """Send a plain request."""
    url = f"{base}/v1/chat/completions"
    return httpx.post(url, json=body(model, stream=False), timeout=20, trust_env=False)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("r"), upstream.api_base)
    try:
        served.start()
        yield served
    finally:
        served.stop()


def test_a_plain_request_is_answered_by_a_worker(served: Served) -> None:
    answer = ask(served.base, "echo").json()
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert len(served.gateways()) == 2


def test_a_stream_arrives_token_by_token(served: Served, upstream: ScriptedUpstream) -> None:
    upstream.on("paced", Say(pieces=tuple(f"t{number} " for number in range(20)), gap=0.1))
    arrived: list[float] = []
    url = f"{served.base}/v1/chat/completions"
    with (
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("POST", url, json=body("paced", stream=True)) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: {") and content(line):
                arrived.append(time.monotonic())
    assert len(arrived) == 20
    assert arrived[-1] - arrived[0] > 1.0


def content(line: str) -> str | None:
    """Return the text of an event, if it has one."""
    choices = json.loads(line.removeprefix("data: "))["choices"]
    text: str | None = choices[0]["delta"].get("content") if choices else None
    return text


def test_a_client_that_leaves_ends_the_call(served: Served, upstream: ScriptedUpstream) -> None:
    upstream.on("paced", Say(pieces=("t ",) * 500, gap=0.1))
    url = f"{served.base}/v1/chat/completions"
    with (
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("POST", url, json=body("paced", stream=True)) as answer,
    ):
        next(line for line in answer.iter_lines() if line.startswith("data: {") and content(line))
        left = time.monotonic()
    deadline = left + 10
    while not upstream.calls("paced")[-1].is_over and time.monotonic() < deadline:
        time.sleep(0.01)
    call = upstream.calls("paced")[-1]
    assert call.was_cancelled
    assert call.closed_by_peer_at is not None
    print(f"the upstream's call ended {1000 * (call.closed_by_peer_at - left):.0f} ms later")


def test_requests_go_on_when_a_gateway_is_killed(served: Served) -> None:
    before = served.gateways()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    statuses = [ask(served.base, "echo").status_code for _ in range(30)]
    # what was in flight at the moment may fail once; Ray's proxy asks another replica
    assert statuses.count(200) >= 29, statuses
    deadline = time.monotonic() + REPLACE_SECONDS
    while len(served.gateways() - {victim}) < len(before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(served.gateways() - {victim}) == len(before)
    assert ask(served.base, "echo").status_code == 200
