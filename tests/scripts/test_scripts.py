"""The shell regression scripts against a server that runs, none, and one that is broken (T2)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import ScriptedUpstream, ServerProcess, free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo() -> Iterator[ServerProcess]:
    with ServerProcess(args=["demo"], env={"CHORUS_LOG": "error"}) as server:
        yield server


def run(name: str, url: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CHORUS_URL": url, "PYTHON": sys.executable}
    command = ["bash", str(ROOT / "scripts" / name)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False)


@pytest.mark.parametrize("name", ["test_api.sh", "test_stream.sh", "test_streaming.sh", "test_migration.sh"])
@pytest.mark.requirement("T2")
def test_every_check_passes_against_a_running_server(demo: ServerProcess, name: str) -> None:
    done = run(name, demo.base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE)
    assert "FAIL" not in done.stdout


@pytest.mark.requirement("T2")
def test_a_script_starts_the_demo_when_nothing_runs_and_stops_it() -> None:
    done = run("test_stream.sh", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.requirement("T2")
def test_a_server_that_is_not_chorus_fails() -> None:
    with ScriptedUpstream.in_thread() as other:
        done = run("test_api.sh", other.base)
    assert done.returncode != 0
    assert "FAIL health" in done.stdout
