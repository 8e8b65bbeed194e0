"""Two servers on one Redis behind a load balancer, and `serve --workers 2` on a file: sessions,
responses, runs, traces and budgets go on when a process is killed (M2, M3, M6, M8).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from tests.faults.test_processes import Server
from tests.kit import Gate, Recorded, Say, ScriptedUpstream, ServerProcess
from tests.kit.balancer import Balancer
from tests.kit.programs import RedisServer

pytestmark = [
    pytest.mark.requirement("M8"),
    pytest.mark.requirement("M3"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc"),
]
CHAT, RESPONSES, CONVERSATIONS = "/v1/chat/completions", "/v1/responses", "/v1/conversations"
LEASE_SECS = 30
CONFIG = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}"
retries = 0
price = {{ input = 1000000, output = 1000000 }}
[[model]]
name = "kimi"
api_base = "{base}"
retries = 0
[storage]
url = "{url}"
"""
"""A token of glm costs 1; kimi has no price."""


@dataclass(frozen=True)
class Cluster:
    """Processes with one store."""

    base: str
    keys: dict[str, str]
    kill: Callable[[], None]
    """Ends one of them by SIGKILL."""
    at_each: Callable[[], Iterable[AbstractContextManager[object]]]
    """In each of these blocks requests go to another process.

    Or to all in turn, where a balancer sees to that.
    """
    end_lease: Callable[[str], float]
    """Lets time pass for the lease of a run: it is over then. Returns the seconds it had left."""


@pytest.fixture(params=["hosts", "workers"])
def cluster(request: pytest.FixtureRequest, upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Cluster]:
    upstream.forget()
    upstream.on("glm", Say("one two", usage=(1, 1))).on("kimi", Say("three"))
    file = KeyFile(tmp_path / "keys.json")
    roles: dict[str, KeyBudget | None] = {"ann": None, "poor": KeyBudget(10, "month")}
    keys = {
        name: file.create(name, role="client", models=(), expires=None, budget=budget)[0]
        for name, budget in roles.items()
    }
    keys["root"] = file.create("root", role="admin", models=(), expires=None)[0]
    with ExitStack() as stack:
        if request.param == "hosts":
            redis = stack.enter_context(RedisServer())
            text = CONFIG.format(keys=tmp_path / "keys.json", base=upstream.api_base, url=redis.url)
            servers = [stack.enter_context(ServerProcess(text)) for _ in range(2)]
            balancer = stack.enter_context(Balancer.in_thread(*(server.port for server in servers)))
            yield Cluster(
                balancer.base, keys, servers[0].kill, lambda: [nullcontext()], lambda id: _end_in_redis(redis, id)
            )
        else:
            path = tmp_path / "chorus.db"
            text = CONFIG.format(keys=tmp_path / "keys.json", base=upstream.api_base, url=f"sqlite:///{path}")
            workers = stack.enter_context(Server(text))
            anyio.run(workers.up)

            def kill() -> None:
                os.kill(workers.workers()[0], signal.SIGKILL)

            at_each = partial(map, workers.only, (0, 1))
            yield Cluster(workers.base, keys, kill, at_each, lambda id: _end_in_file(path, id))


def _end_in_redis(redis: RedisServer, id: str) -> float:
    from redis import Redis

    with Redis.from_url(redis.url) as client:
        [key] = [key for key in client.scan_iter(f"*{id}*") if client.hexists(key, "leased_until")]
        left = float(client.hget(key, "leased_until")) - time.time()
        client.hset(key, "leased_until", "1.0")
        return left


def _end_in_file(path: Path, id: str) -> float:
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        [until] = connection.execute("SELECT leased_until FROM runs WHERE id = ?", (id,)).fetchone()
        connection.execute("UPDATE runs SET leased_until = 1.0 WHERE id = ?", (id,))
        return float(until) - time.time()


@pytest.fixture
async def clients(cluster: Cluster) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client for each key, with a new connection for each request."""
    once = httpx.Limits(max_keepalive_connections=0)
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=cluster.base,
                    headers={"authorization": f"Bearer {key}"},
                    limits=once,
                    timeout=20,
                    verify=False,
                    trust_env=False,
                )
            )
            for name, key in cluster.keys.items()
        }


async def sent(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    """The answer to a request that is sent again where its connection ends before: a process was
    killed in the middle.
    """
    with anyio.fail_after(30):
        while True:
            try:
                return await client.request(method, path, **options)
            except httpx.TransportError:
                await anyio.sleep(0.02)


async def ask(client: httpx.AsyncClient, text: str, model: str = "kimi", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return await sent(client, "POST", CHAT, json=body)


async def respond(client: httpx.AsyncClient, text: str, **fields: Any) -> dict[str, Any]:
    response = await sent(client, "POST", RESPONSES, json={"model": "kimi", "input": text, **fields})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def read_until(client: httpx.AsyncClient, path: str, holds: Callable[[Any], bool]) -> Any:
    """What `path` answers, as soon as it holds: what one process writes others read a little
    later.
    """
    with anyio.fail_after(30):
        while True:
            response = await sent(client, "GET", path)
            if response.status_code == 200 and holds(response.json()):
                return response.json()
            await anyio.sleep(0.02)


def is_any(_: Any) -> bool:
    return True


def counted(request: Recorded) -> Say:
    """The answer tells how many messages came."""
    return Say(f"{len(request.messages)} messages")


async def test_everything_goes_on_when_a_process_is_killed(
    cluster: Cluster, clients: dict[str, httpx.AsyncClient], upstream: ScriptedUpstream
) -> None:
    ann = clients["ann"]
    upstream.on("kimi", counted)
    session = (await ask(ann, "turn 0", session=True)).headers["x-session-id"]
    conversation = (await sent(ann, "POST", CONVERSATIONS, json={})).json()["id"]
    first = await respond(ann, "response 0", conversation=conversation)
    chain = [first["id"]]
    trace = (await ask(ann, "How?")).headers["x-chorus-workflow-id"]

    async def turns(numbers: range) -> None:
        nonlocal chain
        for number in numbers:
            place = f"/api/v1/sessions/{session}"
            answered = await ask(ann, f"turn {number}", session_id=session)
            assert answered.status_code == 200, answered.text
            await read_until(ann, place, lambda found, turns=number + 1: found["turns"] >= turns)
            response = await respond(ann, f"response {number}", conversation=conversation)
            await read_until(
                ann,
                f"{CONVERSATIONS}/{conversation}/items?limit=100",
                lambda found, items=2 * number + 2: len(found["data"]) >= items,
            )
            await read_until(ann, f"{RESPONSES}/{chain[-1]}", is_any)
            chained = await respond(ann, f"chained {number}", previous_response_id=chain[-1])
            chain += [chained["id"]]
            assert response["output"]

    await turns(range(1, 4))
    await read_until(clients["root"], f"/api/v1/workflows/{trace}", is_any)
    gate = Gate()
    upstream.on("kimi", Say("one two three", gate=gate, gate_at=1))
    runs = []
    for block in cluster.at_each():
        with block:
            runs += [(await respond(ann, f"background {number}", background=True))["id"] for number in range(4)]
    cluster.kill()
    gate.open()
    upstream.on("kimi", counted)
    await turns(range(4, 8))
    items = (await read_until(ann, f"/api/v1/sessions/{session}", is_any))["items"]
    texts = [item["content"][0]["text"] for item in items]
    assert texts[::2] == [f"turn {number}" for number in range(8)]
    assert texts[1::2] == [f"{2 * number + 1} messages" for number in range(8)]
    listed = (await sent(ann, "GET", f"{CONVERSATIONS}/{conversation}/items?limit=100&order=asc")).json()["data"]
    assert [item["content"][0]["text"] for item in listed[::2]] == [f"response {number}" for number in range(8)]
    for id in chain[:-1]:
        assert (await sent(ann, "GET", f"{RESPONSES}/{id}")).status_code == 200
    assert (await sent(clients["root"], "GET", f"/api/v1/workflows/{trace}")).status_code == 200
    replayed = await sent(clients["root"], "POST", f"/api/v1/workflows/{trace}/replay", json={"model": "kimi"})
    assert replayed.json()["answers"] == ["1 messages"]

    lost, unchanged = runs, 0
    while unchanged < 12:  # those of the process that lives have ended long before
        found = [(await sent(ann, "GET", f"{RESPONSES}/{id}")).json() for id in runs]
        left = [response["id"] for response in found if response["status"] != "completed"]
        lost, unchanged = left, unchanged + 1 if left == lost else 0
        await anyio.sleep(0.5)
    assert 0 < len(lost) < len(runs), "each process had some of them"
    for id in lost:
        assert (await sent(ann, "GET", f"{RESPONSES}/{id}")).json()["status"] == "in_progress"
        assert cluster.end_lease(id) <= LEASE_SECS
        for _ in range(2):
            failed = (await sent(ann, "GET", f"{RESPONSES}/{id}")).json()
            assert failed["status"] == "failed"
            assert "has stopped" in failed["error"]["message"]


@pytest.mark.requirement("M6")
async def test_a_budget_is_shared_and_holds_when_a_process_is_killed(
    cluster: Cluster, clients: dict[str, httpx.AsyncClient], upstream: ScriptedUpstream
) -> None:
    poor = clients["poor"]

    async def spent() -> float:
        rows = (await sent(poor, "GET", "/api/v1/usage?group_by=")).json()["data"]
        return float(rows[0]["cost"]) if rows else 0.0

    async def wait_spent(cost: float) -> None:
        with anyio.fail_after(30):
            while await spent() < cost:  # noqa: ASYNC110
                await anyio.sleep(0.02)

    for number in range(1, 4):
        assert (await ask(poor, "How?", "glm")).status_code == 200
        await wait_spent(2.0 * number)
    cluster.kill()
    for number in range(4, 6):
        assert (await ask(poor, "How?", "glm")).status_code == 200
        await wait_spent(2.0 * number)
    statuses = []
    with anyio.fail_after(30):  # a sum of the store is used for a second
        while statuses[-4:] != [429] * 4:
            statuses.append((await ask(poor, "How?", "glm")).status_code)
            if statuses[-1] == 200:
                await anyio.sleep(0.2)
    overshoot = statuses.count(200)
    assert overshoot <= 10, "two seconds, as chorus/accounting/budgets.py says"
    refused = await ask(poor, "How?", "glm")
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert (await ask(clients["ann"], "How?", "glm")).status_code == 200
    await wait_spent(2.0 * (5 + overshoot))
    assert await spent() == 2.0 * (5 + overshoot)


@pytest.mark.requirement("M4")
async def test_notes_and_sessions_of_users_are_the_same_at_every_process(
    cluster: Cluster, clients: dict[str, httpx.AsyncClient], upstream: ScriptedUpstream
) -> None:
    user = {"X-User-ID": "ann"}
    put = await sent(clients["ann"], "PUT", "/api/v1/memory", json={"notes": {"language": "Chinese"}}, headers=user)
    assert put.status_code == 200
    for _ in range(4):
        found = (await sent(clients["ann"], "GET", "/api/v1/memory", headers=user)).json()
        assert found["notes"] == {"language": "Chinese"}
        assert (await sent(clients["root"], "GET", "/api/v1/memory", headers=user)).json()["notes"] == {}
    body = {"model": "kimi", "messages": [{"role": "user", "content": "How?"}], "session": True}
    session = (await sent(clients["ann"], "POST", CHAT, json=body, headers=user)).headers["x-session-id"]
    await read_until(clients["ann"], f"/api/v1/sessions/{session}", lambda found: found["turns"] == 1)
    cluster.kill()
    for _ in range(4):
        listed = (await sent(clients["ann"], "GET", "/api/v1/sessions", headers=user)).json()["data"]
        assert [entry["id"] for entry in listed] == [session]
    upstream.forget()
    await sent(clients["ann"], "POST", CHAT, json={**body, "session_id": session}, headers=user)
    [call] = upstream.calls("kimi")
    assert [message["role"] for message in call.messages] == ["system", "user", "assistant", "user"]
    assert '"language": "Chinese"' in call.messages[0]["content"]
