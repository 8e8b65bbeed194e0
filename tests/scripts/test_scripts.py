"""The shell regression scripts against a server that runs, none, and one that is broken (T2)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx
import pytest

from chorus import config as configuration
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stats import StatsFeed
from chorus.server.app import batch_routes, table
from chorus.server.web.page import Page
from chorus.service import Chorus
from tests.kit import ScriptedUpstream, ServerProcess, free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    pid: int
    returncode: int
    stdout: str
    stderr: str


def run(name: str, url: str, python: str = sys.executable) -> Done:
    """The script in a session of its own, so that what it leaves behind can be found."""
    env = {**os.environ, "CHORUS_URL": url, "PYTHON": python}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = ["bash", str(ROOT / "scripts" / name)]
    with subprocess.Popen(command, env=env, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        out, err = process.communicate(timeout=100)
    return Done(process.pid, process.returncode, out, err)


def leaves_processes(group: int) -> bool:
    """Whether anything of this process group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Collecting:
    """A proxy that answers with the server's whole answer at once, as a buffering reverse proxy
    does.
    """

    def __init__(self, target: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._pass(None)

            def do_POST(self) -> None:
                self._pass(self.rfile.read(int(self.headers.get("content-length", 0))))

            def _pass(self, body: bytes | None) -> None:
                reply = httpx.request(self.command, target + self.path, content=body, timeout=30)
                self.send_response(reply.status_code)
                self.send_header("content-type", reply.headers["content-type"])
                self.send_header("content-length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


SLOW = pytest.mark.very_slow  # each calls curl and Python some dozen times
SCRIPTS = [
    "test_stream.sh",
    *(pytest.param(f"test_{name}.sh", marks=SLOW) for name in ("api", "streaming", "migration")),
]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.requirement("T2")
def test_every_check_passes_against_a_running_server(demo: ServerProcess, name: str) -> None:
    done = run(name, demo.base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE)
    assert "FAIL" not in done.stdout


@SLOW
@pytest.mark.requirement("T2")
def test_a_script_starts_the_demo_when_nothing_runs_and_stops_it() -> None:
    """One for all: `use_server` in lib.sh does it."""
    done = run("test_stream.sh", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not leaves_processes(done.pid)


@pytest.mark.requirement("T2")
def test_a_server_that_is_not_chorus_fails() -> None:
    """One for all: `fail` and `finish` in lib.sh do it."""
    with ScriptedUpstream.in_thread() as other:
        done = run("test_stream.sh", other.base)
    assert done.returncode != 0
    assert re.search(r"^FAIL ", done.stdout, re.MULTILINE)


@SLOW
@pytest.mark.requirement("T2")
def test_a_server_that_collects_its_streams_fails(demo: ServerProcess) -> None:
    with Collecting(demo.base) as collecting:
        done = run("test_streaming.sh", collecting.base)
    assert done.returncode != 0
    assert "FAIL chat arrives over time" in done.stdout
    assert "PASS the trace is in the last event" in done.stdout


@pytest.mark.requirement("T2")
def test_a_migration_that_does_nothing_fails(tmp_path: Path) -> None:
    lazy = tmp_path / "python"
    lazy.write_text("#!/bin/sh\ntrue\n", encoding="utf-8")
    lazy.chmod(0o755)
    done = run("test_migration.sh", "", python=str(lazy))
    assert done.returncode != 0
    assert "FAIL migrate says what it did" in done.stdout


@pytest.mark.requirement("T2")
def test_the_api_script_asks_every_route() -> None:
    script = (ROOT / "scripts" / "test_api.sh").read_text(encoding="utf-8")
    config = configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\n', environ={})
    chorus = Chorus(config)
    asked = [
        re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.openapi_path))
        for route in [
            *table(chorus, config, BackgroundRuns(chorus), StatsFeed(chorus)),
            *batch_routes(chorus, config, (), None)[0],
            *Page().routes(),
        ]
    ]
    assert [path for path in asked if re.search(path, script) is None] == []
