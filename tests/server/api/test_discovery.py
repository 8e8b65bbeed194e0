"""A server whose replicas Consul knows, over real sockets (D2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from chorus import config as configuration
from chorus.snapshot import workflow_problems
from tests.kit import Hang, ScriptedUpstream, ServerProcess
from tests.kit.consul import FakeConsul
from tests.kit.fixtures import connected
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("D2")
SECS = 60.0


def model(consul: FakeConsul, more: str = "", **discovery: object) -> str:
    keys = "".join(f", {name} = {value!r}" for name, value in discovery.items())
    table = f"{{ type = 'consul', address = '{consul.address}'{keys} }}"
    return f'[[model]]\nname = "glm"\nretries = 0\ndiscovery = {table}\n{more}\n'


async def upstream_entry(client: httpx.AsyncClient) -> dict[str, Any]:
    (entry,) = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    return dict(entry)


async def until(client: httpx.AsyncClient, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The model's entry, once it is as wanted."""
    with anyio.fail_after(SECS):
        while not condition(entry := await upstream_entry(client)):  # noqa: ASYNC110 - it is another thread's
            await anyio.sleep(0.02)
    return entry


def has(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda entry: len(entry["replicas"]) == count


async def ask(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    body = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}
    return await client.post("/v1/chat/completions", json=body, headers=headers)


async def test_replicas_come_and_go_and_the_server_says_what_it_knows() -> None:
    async with FakeConsul() as consul, ScriptedUpstream() as one, ScriptedUpstream() as two:
        with running(model(consul)) as server:
            async with connected(server.base) as client:
                await until(client, lambda entry: entry["discovery"]["updated_secs_ago"] is not None)
                refused = await ask(client)
                assert refused.status_code == 503
                error = refused.json()["error"]
                assert error["code"] == "upstream_unavailable"
                assert f"discovery finds none (consul service llm-glm at {consul.address})" in error["message"]
                ready = await client.get("/ready")
                assert (ready.status_code, ready.json()["status"]) == (503, "no instance of any model is known")

                first = consul.add("llm-glm", "127.0.0.1", one.port, weight=2)
                entry = await until(client, has(1))
                assert entry["discovery"] | {"updated_secs_ago": 0} == {
                    "type": "consul",
                    "source": f"consul service llm-glm at {consul.address}",
                    "instances": 1,
                    "updated_secs_ago": 0,
                    "errors": 0,
                    "problem": None,
                }
                assert entry["replicas"][0]["weight"] == 2
                assert (await client.get("/ready")).status_code == 200
                assert (await ask(client)).status_code == 200

                consul.add("llm-glm", "127.0.0.1", two.port)
                await until(client, has(2))
                for _ in range(4):
                    assert (await ask(client)).status_code == 200
                assert two.calls("glm")
                consul.set_status(first, "critical")
                await until(client, has(1))
                before = len(one.calls("glm"))
                for _ in range(4):
                    assert (await ask(client)).status_code == 200
                assert len(one.calls("glm")) == before
                page = (await client.get("/metrics")).text
                assert 'discovery_instances{model="glm"} 1.0' in page
                assert 'discovery_errors_total{model="glm"} 0.0' in page
                assert 'discovery_age_seconds{model="glm"}' in page


async def test_requests_go_on_while_consul_is_away_and_after_it_has_forgotten_all() -> None:
    async with FakeConsul() as consul, ScriptedUpstream() as one:
        consul.add("llm-glm", "127.0.0.1", one.port)
        with running(model(consul)) as server:
            async with connected(server.base) as client:
                await until(client, has(1))
                await consul.stop()
                entry = await until(client, lambda entry: entry["discovery"]["problem"] is not None)
                assert "cannot be reached" in entry["discovery"]["problem"]
                assert (await ask(client)).status_code == 200
                await consul.start()
                await until(client, lambda entry: entry["discovery"]["problem"] is None)
                assert (await ask(client)).status_code == 200


async def test_a_reload_keeps_a_watcher_or_replaces_it() -> None:
    async with FakeConsul() as consul, FakeConsul() as other, ScriptedUpstream() as one, ScriptedUpstream() as two:
        consul.add("llm-glm", "127.0.0.1", one.port)
        other.add("llm-glm", "127.0.0.1", two.port)
        with running(model(consul)) as server:
            async with connected(server.base) as client:
                await until(client, has(1))
                await ask(client)
                await consul.until_asked(2)
                asked = len(consul.asked())
                await reload(server, model(consul))
                assert (await upstream_entry(client))["replicas"][0]["calls"] == 1
                assert len(consul.asked()) == asked  # the same watcher waits

                await reload(server, model(consul, "temperature = 0.5"))
                # not empty until Consul answers
                assert len((await upstream_entry(client))["replicas"]) == 1
                assert (await ask(client)).status_code == 200
                consul.add("llm-glm", "127.0.0.1", two.port)
                await until(client, has(2))

                await reload(server, model(other))
                await until(client, has(1))
                assert (await ask(client)).status_code == 200
                assert two.calls("glm")
                seen = len(consul.asked())
                consul.touch("llm-glm")
                await until(client, has(1))
                assert len(consul.asked()) == seen  # nobody asks the old one

                static = f"discovery = {{ type = 'static', replicas = ['{one.api_base}', '{two.api_base}'] }}"
                await reload(server, f'[[model]]\nname = "glm"\n{static}\n')
                assert "discovery" not in (entry := await upstream_entry(client))
                assert len(entry["replicas"]) == 2


async def reload(server: Running, text: str) -> None:
    """Serve `text` from now on."""
    config = configuration.loads(text, environ={}, find_problems=workflow_problems)

    async def on_loop() -> None:
        server.chorus.reload(config)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(on_loop(), server.loop))


async def test_a_slow_agent_holds_up_no_request_and_no_start() -> None:
    async with FakeConsul() as consul:
        consul.faults.hangs = True
        with running(model(consul)) as server:
            async with connected(server.base) as client:
                with anyio.fail_after(5):
                    refused = await ask(client)
                assert refused.status_code == 503
                assert "discovery has not answered" in refused.json()["error"]["message"]


async def test_a_running_answer_of_a_removed_replica_goes_on_and_health_checks_follow() -> None:
    async with FakeConsul() as consul, ScriptedUpstream() as one, ScriptedUpstream() as two:
        first = consul.add("llm-glm", "127.0.0.1", one.port)
        one.on("glm", Hang())
        with running(model(consul, "health_check_secs = 0.1")) as server:
            async with connected(server.base) as client, anyio.create_task_group() as group:
                await until(client, lambda entry: bool(entry["replicas"]) and entry["replicas"][0]["last_check"])
                group.start_soon(ask, client)
                await one.wait_requests(1, model="glm")
                consul.add("llm-glm", "127.0.0.1", two.port)
                consul.remove(first)
                wanted = f"glm@127.0.0.1:{two.port}"
                await until(client, lambda entry: [each["instance_id"] for each in entry["replicas"]] == [wanted])
                await until(client, lambda entry: entry["replicas"][0]["last_check"] is not None)
                assert one.in_flight == 1
                assert (await ask(client)).status_code == 200
                group.cancel_scope.cancel()


@pytest.mark.slow
async def test_each_process_follows_for_itself(tmp_path: Path) -> None:
    async with FakeConsul() as consul, ScriptedUpstream() as one:
        consul.add("llm-glm", "127.0.0.1", one.port)
        path = tmp_path / "config.toml"
        path.write_text(model(consul))
        process = ServerProcess(args=["serve", "--config", str(path), "--workers", "2"])
        await run_sync(process.__enter__)
        try:
            await consul.until_asked(4, timeout=SECS)  # each process: once at once, then waiting
            assert sum("index" not in question.query for question in consul.asked()) == 2
            for _ in range(6):
                # a new connection may be the other process's
                async with connected(process.base) as client:
                    await until(client, has(1))
                    assert (await ask(client)).status_code == 200
        finally:
            await run_sync(process.__exit__, None, None, None)
