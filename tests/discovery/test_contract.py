"""What Chorus expects of a Consul agent, held against the agent of the tests, and against a real
one where CHORUS_TEST_CONSUL_ADDR names it. Each test names the page of
developer.hashicorp.com/consul/api-docs that says so.

The agent of the tests is checked by others, too: by py-consul, and by the keys of HashiCorp's own
double of the API.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from chorus.discovery.agent import Agent
from chorus.discovery.consul import Consul, open_consul
from chorus.discovery.registration import Registration
from tests.clients import environments
from tests.kit.consul import FakeConsul

pytestmark = pytest.mark.requirement("D2")
REAL = os.environ.get("CHORUS_TEST_CONSUL_ADDR")
NEWER = {
    "Service": {"TaggedAddresses", "Weights", "Connect", "PeerName"},
    "Check": {"Interval", "Timeout", "ExposedPort"},
    "Node": set[str](),
    "Entry": set[str](),
}
"""Keys of today's agents (page `health`) that the double does not have."""
OLDER = {"ProxyDestination"}
"""A key of the double that agents do not have any more since 1.3."""


@pytest.fixture(params=["fake", "real"] if REAL else ["fake"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "real":
        assert REAL is not None
        yield REAL
        return
    async with FakeConsul() as consul:
        yield consul.address


@pytest.fixture
async def consul(address: str) -> AsyncIterator[Consul]:
    async with open_consul(Agent(address, token=os.environ.get("CONSUL_HTTP_TOKEN"))) as client:
        yield client


def registration(**more: object) -> Registration:
    return Registration(f"contract-{uuid4().hex[:8]}", "127.0.0.1", 50051, **more)  # type: ignore[arg-type]


async def passing(consul: Consul, mine: Registration, index: int = 0) -> tuple[int, int]:
    """The index, and how many instances pass."""
    found, instances = await consul.instances(mine.name, index=index, wait_secs=10)
    return found, len(instances)


async def until(consul: Consul, mine: Registration, count: int, index: int) -> int:
    """The index at which `count` instances pass; an agent may answer for each step by itself."""
    with anyio.fail_after(30):
        while True:
            index, number = await passing(consul, mine, index)
            if number == count:
                return index


async def test_a_registration_is_seen_by_who_waits_for_it_and_so_is_its_end(consul: Consul) -> None:
    """`agent/service`, `features/blocking`."""
    mine = registration()
    index, number = await passing(consul, mine)
    assert (index > 0, number) == (True, 0)
    async with anyio.create_task_group() as group:
        group.start_soon(consul.register, mine.body())
        index = await until(consul, mine, 1, index)
    assert await consul.knows(mine.service_id)
    _, instances = await consul.instances(mine.name)
    assert [(each.host, each.port, each.weight) for each in instances] == [("127.0.0.1", 50051, 1.0)]
    async with anyio.create_task_group() as group:
        group.start_soon(consul.deregister, mine.service_id)
        await until(consul, mine, 0, index)
    assert not await consul.knows(mine.service_id)
    await consul.deregister(mine.service_id)  # which is no error


async def test_a_wait_without_a_change_ends_with_the_same_index_and_data(consul: Consul) -> None:
    """`features/blocking`."""
    mine = registration()
    await consul.register(mine.body())
    try:
        index = await until(consul, mine, 1, 0)
        began = anyio.current_time()
        again, instances = await consul.instances(mine.name, index=index, wait_secs=1)
        assert (again, len(instances)) == (index, 1)
        assert 0.9 <= anyio.current_time() - began <= 3
    finally:
        await consul.deregister(mine.service_id)


async def test_a_check_of_a_time_to_live(consul: Consul) -> None:
    """`agent/check`."""
    mine = registration(check="ttl", interval_secs=10.0)
    assert not await consul.passes(mine.check_id)
    await consul.register(mine.body())
    try:
        index = await until(consul, mine, 1, 0)
        await consul.fails(mine.check_id)
        index = await until(consul, mine, 0, index)
        assert await consul.passes(mine.check_id)
        await until(consul, mine, 1, index)
    finally:
        await consul.deregister(mine.service_id)


async def test_a_registration_again_keeps_one_instance(consul: Consul) -> None:
    """`agent/service`."""
    mine = registration()
    await consul.register(mine.body())
    try:
        await until(consul, mine, 1, 0)
        await consul.register(mine.body())
        assert (await passing(consul, mine))[1] == 1
    finally:
        await consul.deregister(mine.service_id)


async def test_there_is_a_leader(consul: Consul) -> None:
    """`status`."""
    assert await consul.leader()


async def test_the_headers_and_statuses_that_are_read(address: str) -> None:
    """`features/blocking`, `agent/service`, `agent/check`."""
    async with httpx.AsyncClient(base_url=address) as client:
        reply = await client.get("/v1/health/service/nobody?passing=true")
        assert reply.json() == []
        assert int(reply.headers["X-Consul-Index"]) >= 1
        assert reply.headers["X-Consul-KnownLeader"] == "true"
        assert (await client.get("/v1/agent/service/nobody")).status_code == 404
        assert (await client.put("/v1/agent/service/deregister/nobody")).status_code == 404
        assert (await client.put("/v1/agent/check/pass/nobody")).status_code == 404
        assert (await client.put("/v1/agent/service/register", content=b"{}")).status_code == 400


@pytest.mark.slow
async def test_py_consul_finds_what_it_expects(address: str) -> None:
    script = environments.FOREIGN / "py_consul.py"
    interpreter = await run_sync(environments.python, "consul")

    def run() -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "CONSUL": address}
        return subprocess.run(
            [interpreter, str(script)], capture_output=True, text=True, timeout=120, env=env, check=False
        )

    done = await run_sync(run)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert [line for line in lines if not line.startswith("PASS ")] == []


@pytest.mark.slow
async def test_the_keys_of_an_entry_are_those_of_hashicorps_double() -> None:
    command = await run_sync(environments.node_consul)
    if command is None:
        pytest.skip("Node is not on this machine")
    done = await run_sync(
        lambda: subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, cwd=environments.KEPT / "node-consul"
        )
    )
    theirs = {name: set(keys) for name, keys in json.loads(done.stdout).items()}
    async with FakeConsul() as consul, httpx.AsyncClient(base_url=consul.address) as client:
        consul.add("llm-glm", "127.0.0.1", 1)
        (entry,) = (await client.get("/v1/health/service/llm-glm")).json()
        ours = {
            "Entry": set(entry),
            "Node": set(entry["Node"]),
            "Service": set(entry["Service"]),
            "Check": set(entry["Checks"][0]),
        }
    for name, keys in ours.items():
        assert theirs[name] - keys <= OLDER, name
        assert keys - theirs[name] == NEWER[name], name
