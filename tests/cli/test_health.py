"""`chorus health`, which health checks of containers run (I5, A8)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit import ServerProcess
from tests.kit.command import chorus
from tests.kit.ports import free_port
from tests.kit.worker_process import WorkerProcess

pytestmark = pytest.mark.requirement("I5")
CONFIG = """
[server]
lame_duck_secs = 30
[[model]]
name = "glm"
api_base = "http://127.0.0.1:9/v1"
"""


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that is no Chorus."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_is_ready_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with ServerProcess(CONFIG) as server:
        done = chorus("health", server.base, home=tmp_path, HTTP_PROXY="http://127.0.0.1:1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
        assert chorus("health", f"127.0.0.1:{server.port}", "--live", home=tmp_path).stdout == "ok\n"
        server.terminate()
        while (done := chorus("health", server.base, home=tmp_path)).returncode == 0:
            pass
        assert done.returncode == 1
        assert done.stderr == f"chorus: {server.base}/ready answers 503: stopping\n"
        assert chorus("health", server.base, "--live", home=tmp_path).returncode == 0
        server.terminate()


def test_a_port_that_a_variable_sets_is_asked(tmp_path: Path) -> None:
    with ServerProcess(CONFIG.replace("lame_duck_secs = 30", "")) as server:
        assert chorus("health", home=tmp_path, CHORUS__SERVER__PORT=str(server.port)).returncode == 0
    done = chorus("health", home=tmp_path, CHORUS__SERVER__PORT=str(server.port))
    assert f"127.0.0.1:{server.port}" in done.stderr
    done = chorus("health", "--worker", home=tmp_path, CHORUS__WORKER__PORT=str(server.port))
    assert (done.returncode, str(server.port) in done.stderr) == (1, True)


def test_where_nobody_answers_a_sentence_says_so(tmp_path: Path) -> None:
    done = chorus("health", f"http://127.0.0.1:{free_port()}", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("/ready does not answer: Connection refused\n")


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"[]"), (200, b'{"status": 1}'), (404, b"")])
def test_another_server_is_not_taken_for_chorus(status: int, body: bytes, tmp_path: Path) -> None:
    with answering(status, body) as base:
        done = chorus("health", base, home=tmp_path)
    assert done.returncode == 1
    assert f"answers {status}: no answer of Chorus" in done.stderr


def test_a_server_that_is_silent_is_not_waited_for(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = chorus("health", base, "--timeout", "0.2", home=tmp_path)
        worker = chorus("health", "--worker", base.removeprefix("http://"), "--timeout", "0.2", home=tmp_path)
    assert done.returncode == worker.returncode == 1
    assert "timed out" in done.stderr


@pytest.mark.requirement("I2")
def test_a_worker_is_asked_over_grpc(tmp_path: Path) -> None:
    with WorkerProcess("glm") as worker:
        place = {"home": tmp_path, "CHORUS_WORKER_PORT": str(worker.port)}
        assert chorus("health", "--worker", **place).stdout == "SERVING\n"
        assert chorus("health", "--worker", worker.api_base, "--service", "glm", home=tmp_path).returncode == 0
        other = chorus("health", "--worker", "--service", "kimi", **place)
        assert other.returncode == 1
        assert "says NOT_FOUND" in other.stderr
    gone = chorus("health", "--worker", **place)
    assert gone.returncode == 1
    assert gone.stderr == f"chorus: the worker at 127.0.0.1:{worker.port} says UNAVAILABLE\n"


@pytest.mark.parametrize(
    "args",
    [
        ("ftp://127.0.0.1",),
        ("http://127.0.0.1:99999999",),
        ("--worker", "http://127.0.0.1:50051"),
        ("--worker", "--live"),
        ("--service", "glm"),
    ],
)
def test_wrong_usage_is_2(args: tuple[str, ...], tmp_path: Path) -> None:
    assert chorus("health", *args, home=tmp_path).returncode == 2
