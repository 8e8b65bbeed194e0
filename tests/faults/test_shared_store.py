"""Two processes with one store (M2, M8): `serve --workers 2` on a file, and two servers on one
Redis. What one of them has made the other one answers for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from tests.faults.test_processes import Server, config
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.kit.programs import RedisServer

pytestmark = pytest.mark.requirement("M8")
RESPONSES = "/v1/responses"
Pair = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module", params=["workers", "hosts"])
def servers(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> Iterator[tuple[ServerProcess, ...]]:
    text = config(upstream, "single", "w1")
    with ExitStack() as stack:
        if request.param == "workers":
            yield (stack.enter_context(Server(text)),)
        else:
            redis = stack.enter_context(RedisServer())
            text += f'[storage]\nurl = "{redis.url}"\n'
            yield tuple(stack.enter_context(ServerProcess(text)) for _ in range(2))


@pytest.fixture
async def pair(servers: tuple[ServerProcess, ...], scripted: ScriptedUpstream) -> AsyncIterator[Pair]:
    """A client of each process, by a connection that stays."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(servers[number % len(servers)].base)) for number in (0, 1)]
        server = servers[0]
        if isinstance(server, Server):
            await server.up()
            for number, client in enumerate(opened):
                with server.only(number):
                    assert (await client.get("/health")).status_code == 200
        yield opened[0], opened[1]


async def respond(client: httpx.AsyncClient, text: str, **more: object) -> dict[str, object]:
    response = await client.post(RESPONSES, json={"model": "single", "input": text, **more})
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    return body


async def read_until(client: httpx.AsyncClient, path: str, **fields: object) -> dict[str, object]:
    """What `path` answers as soon as it has these fields: what one process writes the other one
    reads a little later.
    """
    with anyio.fail_after(20):
        while True:
            response = await client.get(path)
            body: dict[str, object] = response.json() if response.status_code == 200 else {}
            if response.status_code == 200 and fields.items() <= body.items():
                return body
            await anyio.sleep(0.02)


async def test_the_other_process_reads_and_continues_a_response(pair: Pair, scripted: ScriptedUpstream) -> None:
    one, two = pair
    made = await respond(one, "my name is Ann")
    path = f"{RESPONSES}/{made['id']}"
    assert (await read_until(two, path))["output"] == made["output"]
    scripted.forget()
    scripted.on("single", Say("Ann"))
    await respond(two, "What is my name?", previous_response_id=made["id"])
    [call] = scripted.calls("single")
    assert call.json["messages"][0]["content"] == "my name is Ann"
    assert (await two.delete(path)).status_code == 200
    assert (await one.get(path)).status_code == 404


async def test_the_other_process_lists_shows_and_repeats_a_run(pair: Pair, scripted: ScriptedUpstream) -> None:
    one, two = pair
    body = {"model": "single", "messages": [{"role": "user", "content": "How?"}], "seed": 7}
    id = (await one.post("/v1/chat/completions", json=body)).headers["x-chorus-workflow-id"]
    path = f"/api/v1/workflows/{id}"
    assert await read_until(two, path) == (await one.get(path)).json()
    for client in pair:
        listed = (await client.get("/api/v1/workflows")).json()["workflows"]
        assert listed[0]["workflow_id"] == id
    replayed = await two.post(f"{path}/replay", json={"model": "w1"})
    assert replayed.json()["answers"] == ["answer of w1"]
    [call] = scripted.calls("w1")
    assert (call.json["messages"], call.json["seed"]) == (body["messages"], 7)
    await read_until(one, f"/api/v1/workflows/{replayed.json()['workflow']['workflow_id']}")


async def test_the_other_process_polls_follows_and_reads_a_background_response(
    pair: Pair, scripted: ScriptedUpstream
) -> None:
    one, two = pair
    gate = Gate()
    scripted.on("single", Say("one two three", gate=gate, gate_at=1))
    path = f"{RESPONSES}/{(await respond(one, 'How?', background=True))['id']}"
    going_on = (await two.get(path)).json()
    assert (going_on["status"], going_on["output"], going_on["background"]) == ("in_progress", [], True)
    events: list[dict[str, object]] = []
    async with two.stream("GET", path, params={"stream": "true"}) as followed:
        async for line in followed.aiter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
                gate.open()  # it has begun
    ended = await read_until(two, path, status="completed")
    assert ended == (await one.get(path)).json()
    assert [(event["type"], event["sequence_number"]) for event in events] == [
        ("response.created", 0),
        ("response.in_progress", 1),
        ("response.completed", 2),
    ]
    assert events[-1]["response"] == ended


@pytest.mark.parametrize("how", ["cancel", "delete"])
async def test_the_other_process_stops_a_background_response(pair: Pair, scripted: ScriptedUpstream, how: str) -> None:
    one, two = pair
    scripted.on("single", Say("one two three", gate=Gate(), gate_at=1))
    id = (await respond(one, "How?", background=True))["id"]
    path = f"{RESPONSES}/{id}"
    stop = {"cancel": partial(two.post, f"{path}/cancel"), "delete": partial(two.delete, path)}[how]
    stopped = await stop()
    assert stopped.status_code == 200, stopped.text
    await scripted.wait_idle()
    if how == "delete":
        assert (await two.get(path)).status_code == 404
        return
    assert stopped.json()["status"] == "cancelled"
    for client in pair:
        assert (await client.get(path)).json()["status"] == "cancelled"


async def test_who_follows_at_the_other_process_is_told_when_the_response_is_deleted(
    pair: Pair, scripted: ScriptedUpstream
) -> None:
    one, two = pair
    scripted.on("single", Say("one two three", gate=Gate(), gate_at=1))
    path = f"{RESPONSES}/{(await respond(one, 'How?', background=True))['id']}"
    async with two.stream("GET", path, params={"stream": "true", "starting_after": "7"}) as followed:
        assert (await one.delete(path)).status_code == 200
        lines = [line async for line in followed.aiter_lines() if line.startswith("data: ")]
    [event] = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert (event["type"], event["code"], event["sequence_number"]) == ("error", "not_found", 8)


REPLICAS = """
[storage]
url = "{url}"
[[model]]
name = "w1"
provider = "openai"
[[model.replicas]]
api_base = "http://127.0.0.1:{port}/v1"
[[model.replicas]]
api_base = "http://localhost:{port}/v1"
"""


@pytest.mark.requirement("D3")
@pytest.mark.parametrize("store", ["redis", "file"])
async def test_two_servers_send_a_session_to_the_same_replica(
    scripted: ScriptedUpstream, tmp_path: Path, store: str
) -> None:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(RedisServer()).url if store == "redis" else f"sqlite:///{tmp_path}/chorus.db"
        text = REPLICAS.format(url=url, port=scripted.base.rpartition(":")[2])
        servers = [stack.enter_context(ServerProcess(text)) for _ in range(2)]
        clients = [await stack.enter_async_context(connected(server.base)) for server in servers]

        async def replica(client: httpx.AsyncClient, session: str) -> str:
            body = {"model": "w1", "messages": [{"role": "user", "content": "Hello"}]}
            response = await client.post("/v1/chat/completions", json=body, headers={"x-session-id": session})
            trace = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
            return str(trace.json()["workers"][0]["instance_id"])

        sessions = [f"session {number}" for number in range(8)]
        first = [await replica(clients[0], session) for session in sessions]
        assert len(set(first)) == 2, first
        await clients[0].get("/api/v1/sessions")
        await anyio.sleep(0.2)  # written behind
        assert [await replica(clients[1], session) for session in sessions] == first
        if store == "redis":
            from redis import Redis

            with Redis.from_url(url) as redis:
                assert redis.exists(*(f"session_affinity:{session}" for session in sessions)) == 8
