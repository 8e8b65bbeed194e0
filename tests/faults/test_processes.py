"""`chorus serve --workers 2` (A8, C12, O2, K5): two real processes on one port, and what happens
when they or their parent end. To see what one of them does by itself, the other is stopped in its
tracks: the kernel gives it no connection then.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess, free_port

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
CHAT = "/v1/chat/completions"


class Server(ServerProcess):
    """With two workers."""

    def __init__(self, config_text: str, **env: str) -> None:
        super().__init__(config_text, env={"CHORUS_LOG": "info", **env})
        self._command += ["--workers", "2"]

    def said(self, event: str) -> list[dict[str, object]]:
        """The log's lines of this event."""
        lines = [line for line in self.log.splitlines() if f'"event":"{event}"' in line and line.endswith("}")]
        return [json.loads(line) for line in lines]

    def workers(self) -> dict[int, int]:
        """Process ids by number."""
        return {int(str(line["worker"])): int(str(line["pid"])) for line in self.said("a worker was started")}

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        """In the block only this worker runs."""
        others = [pid for other, pid in self.workers().items() if other != number]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    async def up(self) -> None:
        """Wait for the announcement: all workers answer."""
        await until(lambda: "Chorus answers at" in self.log)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another process does; polling with a deadline."""
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def config(scripted: ScriptedUpstream, *names: str) -> str:
    return "\n".join(f'[[model]]\nname = "{name}"\napi_base = "{scripted.api_base}"\n' for name in names)


def lives(pid: int) -> bool:
    """Whether the process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def server(upstream: ScriptedUpstream) -> Iterator[Server]:
    """One whose processes start from nothing, as a user's do."""
    with Server(config(upstream, "single"), PYTHONHASHSEED="random") as process:
        yield process


@asynccontextmanager
async def fresh(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with connections of its own."""
    async with httpx.AsyncClient(base_url=server.base, timeout=10, verify=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, model: str = "single") -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "How?"}]}
    return (await client.post(CHAT, json=body)).status_code


async def scrape(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@pytest.mark.requirement("O2")
@pytest.mark.requirement("K5")
async def test_both_work_and_each_tells_of_both(server: Server, scripted: ScriptedUpstream) -> None:
    await server.up()
    async with fresh(server) as client:
        before = await scrape(client, "http_requests_total", route=CHAT, status="200")
    for number, times in ((0, 3), (1, 4)):
        with server.only(number):
            async with fresh(server) as client:
                assert [await ask(client) for _ in range(times)] == [200] * times
    gate = Gate()
    scripted.on("single", Say("late", gate=gate))
    statuses: list[int] = []

    async def wait(client: httpx.AsyncClient) -> None:
        statuses.append(await ask(client))

    async with fresh(server) as client, anyio.create_task_group() as group:
        with server.only(0):
            group.start_soon(wait, client)
            await scripted.wait_requests(8)
        for number in (0, 1):
            with server.only(number):
                async with fresh(server) as asking:
                    assert await scrape(asking, "http_requests_total", route=CHAT, status="200") == before + 7
                    assert await scrape(asking, "llm_calls_total", model="single") >= 7
        active = 0.0
        with anyio.fail_after(5):
            while active != 1:  # the other one says it within a second, when it runs
                with server.only(1):
                    async with fresh(server) as asking:
                        active = await scrape(asking, "active_concurrency", model="single")
        gate.open()
    assert statuses == [200]
    assert {line["worker"] for line in server.said("request")} == {0, 1}


@pytest.mark.requirement("C12")
async def test_hangup_reloads_both(server: Server, scripted: ScriptedUpstream) -> None:
    await server.up()
    for times, names in ((2, ("single", "new")), (4, ("single",))):
        server.reload(config(scripted, *names))
        await until(lambda: len(server.said("the configuration was reloaded")) == times)  # noqa: B023
        for number in (0, 1):
            with server.only(number):
                async with fresh(server) as client:
                    assert {each["id"] for each in (await client.get("/v1/models")).json()["data"]} == set(names)


@pytest.mark.requirement("O2")
async def test_a_worker_that_dies_under_load_is_replaced(server: Server, scripted: ScriptedUpstream) -> None:
    """Only what was on its connections is lost."""
    await server.up()
    statuses: list[int] = []
    lost = 0
    is_over = False

    async def load() -> None:
        nonlocal lost
        async with fresh(server) as client:
            while not is_over:
                try:
                    statuses.append(await ask(client))
                except httpx.TransportError:
                    lost += 1

    async with fresh(server) as client:
        sums = [await scrape(client, "http_requests_total", route=CHAT)]
    victim = server.workers()[0]
    with server.only(0):  # so that it has something to lose
        async with fresh(server) as client:
            assert await ask(client) == 200
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(load)
        await until(lambda: len(statuses) >= 20)
        os.kill(victim, signal.SIGKILL)
        with anyio.fail_after(30):  # it starts from nothing, under load
            while server.workers()[0] == victim:
                async with fresh(server) as client:
                    sums.append(await scrape(client, "http_requests_total", route=CHAT))
        is_over = True
    with server.only(0):
        async with fresh(server) as client:
            assert await ask(client) == 200
            with anyio.fail_after(5):
                while sums[-1] < sums[0] + len(statuses) + 2:
                    sums.append(await scrape(client, "http_requests_total", route=CHAT))
    assert set(statuses) == {200}
    assert lost <= 4
    assert sums == sorted(sums)
    (died,) = server.said("a worker died")
    assert died["exit_code"] == -9
    assert not lives(victim)


async def streams(server: Server, gate: Gate, each: int, after: Callable[[], None]) -> int:
    """Begin so many streams with each worker, call `after`, open the gate, and count those that
    come to their end.
    """
    body = {"model": "single", "stream": True, "messages": [{"role": "user", "content": "How?"}]}
    whole = 0
    begun = 0

    async def follow(client: httpx.AsyncClient) -> None:
        nonlocal whole, begun
        async with client.stream("POST", CHAT, json=body) as response:
            lines = response.aiter_lines()
            await anext(lines)
            begun += 1
            rest = [line async for line in lines]
            whole += "data: [DONE]" in rest

    async with fresh(server) as one, fresh(server) as other, anyio.create_task_group() as group:
        for number, client in enumerate((one, other)):
            with server.only(number):
                for _ in range(each):
                    group.start_soon(follow, client)
                await until(lambda: begun == each * (number + 1))  # noqa: B023
        after()
        gate.open()
    return whole


async def test_a_worker_is_replaced_although_somebody_removed_the_metrics(
    scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    """As `systemd-tmpfiles` and others clear /tmp."""
    with Server(config(scripted, "single"), TMPDIR=str(tmp_path)) as server:
        await server.up()
        (name,) = os.listdir(tmp_path)
        folder = tmp_path / name
        shutil.rmtree(folder)
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: server.workers()[0] != victim)
        await until(lambda: (folder / "worker-0.json").exists())
        with server.only(0):
            async with fresh(server) as client:
                assert await ask(client) == 200
                assert await scrape(client, "llm_calls_total", model="single") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.requirement("A8")
async def test_stopping_loses_no_stream_and_leaves_no_process(scripted: ScriptedUpstream, number: int) -> None:
    """The signal comes to all of them, twice, as terminals, systemd and `timeout` send it."""
    gate = Gate()
    scripted.on("single", Say("one two three", gate=gate, gate_at=1))
    with Server(config(scripted, "single")) as server:
        await server.up()
        pids = list(server.workers().values())

        def stop() -> None:
            for pid in 2 * [*pids, server.pid]:
                os.kill(pid, number)

        assert await streams(server, gate, 10, stop) == 20
        assert await anyio.to_thread.run_sync(server.stop) == 0
    assert not any(map(lives, pids))
    assert len(server.workers()) == 2
    assert "killed" not in server.log


@pytest.mark.requirement("A8")
async def test_orphans_finish_their_streams_and_end(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    gate = Gate()
    scripted.on("single", Say("one two three", gate=gate, gate_at=1))
    # it leaves its folder behind
    with Server(config(scripted, "single"), TMPDIR=str(tmp_path)) as server:
        await server.up()
        pids = list(server.workers().values())
        assert await streams(server, gate, 2, lambda: os.kill(server.pid, signal.SIGKILL)) == 4
        await until(lambda: not any(map(lives, pids)))
        await anyio.to_thread.run_sync(server.kill)


@pytest.mark.requirement("C1")
def test_what_a_worker_refuses_ends_everything(scripted: ScriptedUpstream) -> None:
    """A file that can be read only once: the parent has read it, and its workers find nothing in
    it.
    """
    command = [sys.executable, "-m", "chorus", "serve", "--config", "/dev/stdin", "--workers", "2"]
    text = f"[server]\nport = {free_port()}\n[limits]\nrequests = '9/second'\n" + config(scripted, "single")
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "a worker did not start" in done.stderr
    assert "Traceback" not in done.stderr
    assert "answers" not in done.stdout
    assert done.stderr.count("each of the 2 workers counts [limits] by itself") == 1


@pytest.mark.requirement("C11")
def test_a_port_that_is_taken_is_refused_before_any_worker(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[server]\nport = {scripted.port}\n" + config(scripted, "single"), encoding="utf-8")
    command = [sys.executable, "-m", "chorus", "serve", "--config", str(path), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("chorus: cannot listen on")
    assert len(done.stderr.splitlines()) == 1
