"""`[limits] shared_concurrency`: `max_concurrency` of a model and of the server for two servers
together (K2).
"""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from redis import Redis

from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess
from tests.kit.command import chorus
from tests.kit.programs import RedisServer

pytestmark = pytest.mark.requirement("K2")

CONFIG = """
[server]
{server}
[limits]
shared_concurrency = true
[storage]
url = "{redis}"
[[model]]
name = "glm"
api_base = "{base}"
{model}
"""
BODY = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}


@pytest.mark.parametrize("level", ["server", "model"])
async def test_two_servers_let_in_as_many_as_one(scripted: ScriptedUpstream, level: str) -> None:
    gate = Gate()
    scripted.on("glm", Say("Well.", gate=gate))
    with RedisServer() as redis:
        text = CONFIG.format(
            redis=redis.url,
            base=scripted.api_base,
            server="max_concurrency = 2" if level == "server" else "",
            model="max_concurrency = 2" if level == "model" else "",
        )
        with ServerProcess(text) as one, ServerProcess(text) as other:
            answers: list[int] = []
            before = len(scripted.requests)

            async def ask(server: ServerProcess) -> None:
                async with httpx.AsyncClient(timeout=30) as client:
                    answers.append((await client.post(f"{server.base}/v1/chat/completions", json=BODY)).status_code)

            async with anyio.create_task_group() as group:
                for number in range(6):
                    group.start_soon(ask, (one, other)[number % 2])
                with anyio.fail_after(10):
                    while len(scripted.requests) < before + 2:  # noqa: ASYNC110 - it has no event
                        await anyio.sleep(0.01)
                # others would have come by now: a lease is asked for every 0.25 s
                await anyio.sleep(0.5)
                assert len(scripted.requests) == before + 2
                gate.open()
            assert answers == [200] * 6
        with Redis(port=redis.port) as client:
            assert not client.keys("{chorus:slots}*")


def test_it_needs_a_redis(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[limits]\nshared_concurrency = true\n[[model]]\nname = "a"\nprovider = "demo"\n')
    done = chorus("check", str(path), home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"{path}: line 2: [limits] shared_concurrency: this needs the address of a Redis as `[storage] url`"
    )
