"""What `/ready` says while an upstream fails some requests, or all (A7, D1)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit import Cut, Raw, Say, ScriptedUpstream, Status, free_port
from tests.kit.fixtures import connected
from tests.kit.record import Recorded
from tests.kit.script import Behaviour
from tests.server.running import running

pytestmark = [pytest.mark.requirement("A7"), pytest.mark.requirement("D1")]
CONFIG = """
[[model]]
name = "glm"
replicas = [{replicas}]
"""
GARBAGE = Raw([b"data: {garbage\n\n"])


@pytest.fixture(params=[1, 2])
async def client(request: pytest.FixtureRequest, scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with one model, of one replica or two that are the same."""
    replicas = ", ".join([f'"{scripted.api_base}"'] * request.param)
    with running(CONFIG.format(replicas=replicas)) as served:
        async with connected(served.base) as client:
            yield client


async def ask(client: httpx.AsyncClient, prompt: str = "How?") -> int:
    body = {"model": "glm", "messages": [{"role": "user", "content": prompt}]}
    return (await client.post("/v1/chat/completions", json=body)).status_code


async def ready(client: httpx.AsyncClient) -> int:
    return (await client.get("/ready")).status_code


@pytest.mark.parametrize(
    "poisoned", [Status(500), Status(502), Cut(after_pieces=None), Cut(after_pieces=1), GARBAGE], ids=repr
)
async def test_requests_that_fail_for_their_own_sake_take_nobody_else_the_server(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, poisoned: Behaviour
) -> None:
    def answer(request: Recorded) -> Behaviour:
        return poisoned if b"poison" in request.body else Say("fine")

    scripted.on("glm", answer)
    for burst in range(3):
        for number in range(4):
            assert await ask(client, f"poison {burst} {number}") >= 500
            assert await ready(client) == 200
        assert await ask(client) == 200
        assert await ready(client) == 200


async def test_an_upstream_that_is_away_is_missed_and_one_answer_makes_it_ready() -> None:
    port = free_port()
    with running(CONFIG.format(replicas=f'"http://127.0.0.1:{port}/v1"')) as served:
        async with connected(served.base) as client:
            assert await ready(client) == 200
            assert await ask(client) == 502
            assert await ready(client) == 503
            async with ScriptedUpstream(port=port) as back:
                back.on("glm", Say("back"))
                assert await ask(client) == 200
                assert await ready(client) == 200
