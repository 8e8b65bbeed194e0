"""A server whose log cannot be written, or is not read: requests go on, and so does the server (O1,
C12).
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit import ServerProcess

pytestmark = pytest.mark.requirement("O1")
CONFIG = '[[model]]\nname = "m"\nprovider = "demo"\n'
WARNS = "[workflow.timeouts]\nworker_timeout_secs = 60000\n"
LONG = "/nowhere/" + "x" * 50_000
"""The log has the path of a request: a few hundred of these are more than it keeps for a reader
that is stuck.
"""


class Unread(ServerProcess):
    """One whose output nobody reads until `read` happens."""

    def __init__(self, *args: str) -> None:
        super().__init__(CONFIG, env={"CHORUS_LOG": "debug"})
        self._command += args
        self.read = threading.Event()

    def _read(self) -> None:
        self.read.wait()
        super()._read()

    def kill(self) -> None:
        self.read.set()
        super().kill()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]


@pytest.fixture
def unread() -> Iterator[Unread]:
    with Unread() as server:
        try:
            yield server
        finally:
            server.read.set()


def dropped(metrics: str) -> float:
    families = text_string_to_metric_families(metrics)
    name = "chorus_log_lines_dropped_total"
    [value] = [sample.value for family in families for sample in family.samples if sample.name == name]
    return value


def get(server: ServerProcess, path: str, times: int = 1) -> list[tuple[int, str]]:
    """Status and body of each answer. (httpx looks at every character of a path, for 30 ms.)"""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    found = []
    for _ in range(times):
        connection.request("GET", path)
        response = connection.getresponse()
        found.append((response.status, response.read().decode()))
    connection.close()
    return found


def test_a_reader_that_is_stuck_stops_no_request(unread: Unread) -> None:
    assert dropped(get(unread, "/metrics")[0][1]) == 0
    assert [status for status, _ in get(unread, LONG, 400)] == [404] * 400
    lost = dropped(get(unread, "/metrics")[0][1])
    assert 100 < lost < 400
    unread.read.set()
    deadline = time.monotonic() + 10
    while "log lines were dropped" not in unread.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # polling with a deadline
    get(unread, "/the-last-one")
    assert unread.stop() == 0
    events = unread.events()
    assert sum(event["lines"] for event in events if event["event"].startswith("log lines were dropped")) == lost
    assert sum(event.get("path") == LONG for event in events) == 400 - lost
    assert any(event.get("path") == "/the-last-one" for event in events)


async def test_every_line_of_several_processes_is_there_after_sigterm() -> None:
    server = Unread("--workers", "2")
    server.read.set()
    with server:
        async with httpx.AsyncClient(base_url=server.base, timeout=5, verify=False) as client:
            for number in range(100):
                await client.get(f"/v1/models/number-{number}")
        assert await anyio.to_thread.run_sync(server.stop) == 0
    paths = [event.get("path") for event in server.events()]
    assert [path for path in paths if path and "number-" in path] == [f"/v1/models/number-{n}" for n in range(100)]


@pytest.mark.requirement("C12")
@pytest.mark.parametrize("fault", ["the disk is full", "the reader is gone"])
async def test_a_reload_that_warns_goes_on_where_nothing_can_be_written(tmp_path: Path, fault: str) -> None:
    server = ServerProcess(CONFIG)
    reading, writing = os.pipe()
    if fault == "the disk is full":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    process = subprocess.Popen(  # noqa: ASYNC220 - it only starts
        server._command, cwd=tmp_path, env=server._env, stdout=subprocess.DEVNULL, stderr=writing
    )
    os.close(writing)
    try:
        await anyio.to_thread.run_sync(_healthy, server, process)
        os.close(reading)
        server.config_path.write_text(CONFIG + CONFIG.replace('"m"', '"new"') + WARNS)
        process.send_signal(signal.SIGHUP)
        async with httpx.AsyncClient(base_url=server.base, timeout=5, verify=False) as client:
            with anyio.fail_after(10):
                while (await client.get("/v1/models/new")).status_code != 200:
                    assert process.poll() is None
        process.terminate()
        assert await anyio.to_thread.run_sync(process.wait, 10) == 0
    finally:
        process.kill()
        process.wait()
        server._folder.cleanup()


def _healthy(server: ServerProcess, process: subprocess.Popen[bytes]) -> None:
    server._process = process
    server._wait_healthy()
