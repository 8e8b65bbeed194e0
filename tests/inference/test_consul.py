"""Workers of one name, a Consul and a gateway: found, balanced, sticky, killed, back again (D2,
I4).
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from chorus.errors import ConfigError
from chorus.inference.registering import advertised
from tests.kit import ServerProcess, free_port
from tests.kit.command import chorus
from tests.kit.consul import FakeConsul
from tests.kit.fixtures import connected
from tests.kit.worker import WorkerProcess

pytestmark = [pytest.mark.requirement("I4"), pytest.mark.requirement("D2")]

GATEWAY = """
[[model]]
name = "glm"
provider = "grpc"
discovery = {{ type = "consul", address = "{address}" }}
"""
SECS = 30.0
NAME = "llm-glm"


@asynccontextmanager
async def worker(consul: FakeConsul, *args: str) -> AsyncIterator[WorkerProcess]:
    """A worker that registers itself.

    It is started and stopped without holding up this loop, which answers for Consul.
    """
    process = WorkerProcess("--engine", "echo", "--name", "glm", "--consul", consul.address, *args)
    await run_sync(process.__enter__)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(process.__exit__, None, None, None)


@asynccontextmanager
async def gateway(consul: FakeConsul) -> AsyncIterator[httpx.AsyncClient]:
    process = ServerProcess(GATEWAY.format(address=consul.address))
    await run_sync(process.__enter__)
    try:
        async with connected(process.base) as client:
            yield client
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(process.__exit__, None, None, None)


async def replicas(client: httpx.AsyncClient) -> dict[str, Any]:
    (entry,) = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    return {each["instance_id"]: each for each in entry["replicas"]}


async def until_replicas(client: httpx.AsyncClient, count: int) -> dict[str, Any]:
    with anyio.fail_after(SECS):
        while len(found := await replicas(client)) != count:  # noqa: ASYNC110 - it is another process's
            await anyio.sleep(0.05)
    return found


async def ask(client: httpx.AsyncClient, session: str | None = None) -> str:
    """Where the answer came from."""
    body = {"model": "glm", "messages": [{"role": "user", "content": "one two three"}], "include_workflow": True}
    headers = {"X-Session-ID": session} if session else {}
    reply = await client.post("/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == "one two three"
    return str(reply.json()["workflow"]["workers"][0]["instance_id"])


@pytest.mark.very_slow  # 10 s of CPU; `tests/discovery` holds the parts
async def test_two_workers_share_the_load_one_is_killed_and_comes_back_and_so_does_consul() -> None:
    async with FakeConsul() as consul, AsyncExitStack() as stack:
        one = await stack.enter_async_context(worker(consul))
        two = await stack.enter_async_context(worker(consul))
        await consul.until_passing(NAME, 2, SECS)
        assert {body["Meta"]["model"] for body in consul.registered(NAME)} == {"glm"}
        client = await stack.enter_async_context(gateway(consul))
        await until_replicas(client, 2)

        at = await ask(client, "s")
        assert [await ask(client, "s") for _ in range(4)] == [at] * 4
        assert {await ask(client) for _ in range(6)} == {f"glm@{each.address}" for each in (one, two)}

        killed, other = (one, two) if at == f"glm@{one.address}" else (two, one)
        places: list[str] = []
        async with anyio.create_task_group() as load:
            done = anyio.Event()

            async def go_on() -> None:
                while not done.is_set():
                    places.append(await ask(client, "s"))

            for _ in range(4):
                load.start_soon(go_on)
            killed.signal(signal.SIGKILL)
            await consul.until_passing(NAME, 1, SECS)
            await until_replicas(client, 1)
            done.set()
        assert places[-1] == f"glm@{other.address}"
        assert await ask(client, "s") == f"glm@{other.address}"

        port = killed.address.rpartition(":")[2]
        await stack.enter_async_context(worker(consul, "--port", port))
        await consul.until_passing(NAME, 2, SECS)
        await until_replicas(client, 2)
        assert await ask(client, "s") == f"glm@{other.address}"
        assert {await ask(client) for _ in range(6)} == {f"glm@{killed.address}", f"glm@{other.address}"}

        await consul.stop()
        assert {await ask(client) for _ in range(6)} == {f"glm@{killed.address}", f"glm@{other.address}"}
        await consul.start()
        await ask(client)
        await consul.until_passing(NAME, 2, SECS)  # they have registered again
        await until_replicas(client, 2)

        other.signal(signal.SIGTERM)
        assert await run_sync(other.wait) == 0
        assert len(consul.registered(NAME)) == 1
        await until_replicas(client, 1)
        assert await ask(client, "s") == f"glm@{killed.address}"


@pytest.mark.slow
async def test_a_worker_that_stops_is_deregistered_before_its_answers_end() -> None:
    async with FakeConsul() as consul, worker(consul, "--option", "delay_secs=0.3") as process:
        await consul.until_passing(NAME, 1, SECS)
        async with gateway(consul) as client, anyio.create_task_group() as group:
            await until_replicas(client, 1)
            answers: list[str] = []

            async def answer() -> None:
                answers.append(await ask(client))

            group.start_soon(answer)
            await run_sync(process.until, lambda: process.metric("llm_active_requests") > 0)
            process.signal(signal.SIGTERM)
            await consul.until_gone(NAME)
            assert not answers
        assert answers == [f"glm@{process.address}"]
        assert await run_sync(process.wait) == 0


@pytest.mark.slow
async def test_a_worker_without_an_agent_serves_and_is_registered_when_there_is_one() -> None:
    consul = FakeConsul()
    consul.port = free_port()
    async with worker(consul, "--advertise", "localhost") as process:
        await run_sync(process.until, lambda: "the worker is not registered, and tries again" in process.log)
        async with consul:
            await consul.until_passing(NAME, 1, SECS)
            (body,) = consul.registered(NAME)
            port = int(process.address.rpartition(":")[2])
            assert (body["Address"], body["Port"]) == ("localhost", port)
            assert body["Check"]["GRPC"] == f"localhost:{port}/glm"


def test_a_worker_at_every_address_has_to_say_where_it_is_reached(tmp_path: Path) -> None:
    done = chorus(
        "worker",
        "--engine",
        "echo",
        "--name",
        "glm",
        "--host",
        "0.0.0.0",
        "--consul",
        "http://127.0.0.1:1",
        home=tmp_path,
    )
    assert done.returncode == 2
    assert "advertise: missing; a worker that listens at 0.0.0.0 does not know where others reach it" in done.stderr
    done = chorus("worker", "--engine", "echo", "--name", "glm", "--consul", "ftp://x", home=tmp_path)
    assert done.returncode == 2
    assert "consul: expected the http or https address of a Consul agent" in done.stderr


def test_where_others_reach_a_worker() -> None:
    assert advertised(None, "10.0.0.1", 5) == ("10.0.0.1", 5)
    assert advertised(None, "[::1]", 5) == ("::1", 5)
    assert advertised("w1.lan", "0.0.0.0", 5) == ("w1.lan", 5)
    assert advertised("w1.lan:7", "0.0.0.0", 5) == ("w1.lan", 7)
    assert advertised("[fd00::1]:7", "::", 5) == ("fd00::1", 7)
    assert advertised("fd00::1", "::", 5) == ("fd00::1", 5)
    for wrong in (":7", "a:b", "a:0", "a:70000", "http://a:1", "0.0.0.0:1"):
        with pytest.raises(ConfigError):
            advertised(wrong, "127.0.0.1", 5)
