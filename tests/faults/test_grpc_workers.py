"""Two inference workers of one model, as processes, behind one gateway: load is shared, sessions
stick, one is killed under load and comes back (I1, I4, D1, D3).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest

from tests.kit import ServerProcess
from tests.kit.worker_process import WorkerProcess

pytestmark = [pytest.mark.requirement(name) for name in ("I1", "D1", "D3")] + [pytest.mark.slow]
CHAT = "/v1/chat/completions"
WORDS = " ".join(f"w{number}" for number in range(30))
SAID = re.compile(r'"content":"([^"]*)"')


@pytest.fixture(scope="module")
def workers() -> Iterator[list[WorkerProcess]]:
    with ExitStack() as stack:
        yield [stack.enter_context(WorkerProcess("m", delay_secs=0.01, max_concurrency=32)) for _ in range(2)]


@pytest.fixture(scope="module")
def server(workers: list[WorkerProcess]) -> Iterator[ServerProcess]:
    replicas = [worker.api_base for worker in workers]
    text = f'[[model]]\nname = "m"\nprovider = "grpc"\nhealth_check_secs = 0.3\nreplicas = {replicas}\n'
    with ServerProcess(text, env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base, timeout=30, verify=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, session: str | None = None) -> tuple[str, bool]:
    """The text of a streamed answer, and whether it is whole."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": WORDS}]}
    headers = {"x-session-id": session} if session else {}
    answer = await client.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return "".join(SAID.findall(answer.text)), answer.text.endswith("data: [DONE]\n\n")


async def replicas(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    [model] = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    states: list[dict[str, Any]] = model["replicas"]
    return states


async def calls(client: httpx.AsyncClient) -> list[int]:
    return [state["calls"] for state in await replicas(client)]


async def test_load_is_shared_and_a_session_stays_with_its_worker(client: httpx.AsyncClient) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask, client)
    assert min(await calls(client)) >= 8
    before = await calls(client)
    for _ in range(6):
        assert await ask(client, "s1") == (WORDS, True)
    assert sorted(after - old for after, old in zip(await calls(client), before, strict=True)) == [0, 6]


async def test_one_of_two_workers_is_killed_under_load_and_comes_back(
    client: httpx.AsyncClient, workers: list[WorkerProcess]
) -> None:
    before = await calls(client)
    for session in ("a", "b", "c", "d"):
        await ask(client, session)
    outcomes: Counter[str] = Counter()

    async def load(session: str) -> None:
        for _ in range(6):
            text, is_whole = await ask(client, session)
            assert WORDS.startswith(text)
            outcomes["whole" if is_whole else "cut" if text else "lost"] += 1

    async with anyio.create_task_group() as group:
        for number in range(16):
            group.start_soon(load, f"load-{number}")
        await anyio.sleep(0.5)
        await anyio.to_thread.run_sync(workers[0].kill)
    # a client that has read a word gets an error; nobody else notices
    assert outcomes["lost"] == 0
    assert outcomes["whole"] + outcomes["cut"] == 16 * 6
    assert outcomes["cut"] <= 16
    for session in ("a", "b", "c", "d"):
        assert await ask(client, session) == (WORDS, True)

    await anyio.to_thread.run_sync(workers[0].start)
    with anyio.fail_after(15):
        while (await replicas(client))[0]["state"] != "closed":
            await ask(client)
    async with anyio.create_task_group() as group:
        before = await calls(client)
        for _ in range(20):
            group.start_soon(ask, client)
    assert (await calls(client))[0] - before[0] >= 5
    assert all(state["in_flight"] == 0 for state in await replicas(client))


async def test_a_worker_that_drains_loses_no_answer(client: httpx.AsyncClient, workers: list[WorkerProcess]) -> None:
    answers: list[tuple[str, bool]] = []

    async def load() -> None:
        for _ in range(5):
            answers.append(await ask(client))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(load)
        await anyio.sleep(0.4)
        workers[1].terminate()
        assert await anyio.to_thread.run_sync(workers[1].wait) == 0
    assert answers == [(WORDS, True)] * 40
