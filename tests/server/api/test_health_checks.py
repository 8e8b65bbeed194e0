"""Health checks over real sockets: who is dead is found out before a request meets it, and comes
back (D4).
"""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from chorus.llm.pool import breaker
from tests.kit import Say, ScriptedUpstream, ServerProcess, Status, free_port
from tests.kit.fixtures import connected
from tests.server.running import running

pytestmark = pytest.mark.requirement("D4")
CONFIG = """
[[model]]
name = "glm"
replicas = ["{first}/v1", "{second}/v1"]
balance = "round_robin"
health_check_secs = 0.05
"""


async def replicas(client: httpx.AsyncClient, model: str = "glm") -> list[dict[str, Any]]:
    upstreams = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    replicas: list[dict[str, Any]] = next(upstream["replicas"] for upstream in upstreams if upstream["model"] == model)
    return replicas


async def until(client: httpx.AsyncClient, state: str, outcome: str) -> dict[str, Any]:
    """The first replica, once it is in `state` and its last check ended with `outcome`."""
    with anyio.fail_after(10):
        while True:
            first = (await replicas(client))[0]
            if first["state"] == state and (first["last_check"] or {}).get("outcome") == outcome:
                return first


async def ask(client: httpx.AsyncClient) -> str:
    body = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


async def test_who_is_away_meets_no_request_and_comes_back(scripted: ScriptedUpstream) -> None:
    port = free_port()
    config = CONFIG.format(first=f"http://127.0.0.1:{port}", second=scripted.base)
    with running(config) as served:
        async with connected(served.base) as client:
            away = await until(client, "open", "failure")
            assert "cannot be reached" in away["last_check"]["error"]
            assert [await ask(client) for _ in range(4)] == ["one two three"] * 4
            first, second = await replicas(client)
            assert (first["calls"], second["calls"]) == (0, 4)  # checks are no calls
            assert (second["state"], second["last_check"]["error"]) == ("closed", None)
            async with ScriptedUpstream(port=port) as back:
                back.on("glm", Say("back"))
                await until(client, "half_open", "success")
                assert await ask(client) == "back"
                assert (await replicas(client))[0]["state"] == "closed"


async def test_who_answers_checks_with_500_is_left_alone_until_it_does_not(scripted: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as ill:
        ill.on("/v1/models", Status(500)).on("glm", Say("well again"))
        with running(CONFIG.format(first=ill.base, second=scripted.base)) as served:
            async with connected(served.base) as client:
                await until(client, "open", "failure")
                assert [await ask(client) for _ in range(4)] == ["one two three"] * 4
                assert ill.calls("glm") == []
                ill.on("/v1/models", Status(200))
                await until(client, "half_open", "success")
                assert await ask(client) == "well again"


async def test_who_lists_its_models_and_fails_its_calls_is_not_let_back_by_checks(
    scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "AILING_SECS", 0.1)
    async with ScriptedUpstream() as ill:
        ill.on("glm", Status(500))
        with running(CONFIG.format(first=ill.base, second=scripted.base)) as served:
            async with connected(served.base) as client:
                while (await replicas(client))[0]["state"] == "closed":
                    assert await ask(client) == "one two three"
                calls = len(ill.calls("glm"))
                checks = len(ill.requests)
                await ill.wait_requests(checks + 3)
                assert (await until(client, "open", "success"))["retry_in_secs"] > 10
                assert [await ask(client) for _ in range(4)] == ["one two three"] * 4
                assert len(ill.calls("glm")) == calls


MODEL = """
[[model]]
name = "{name}"
provider = "{provider}"
api_base = "{base}"
{check}
"""


async def test_a_reload_ends_the_checks_of_what_was_before(scripted: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as upstream:
        every = "health_check_secs = 0.05"
        old = MODEL.format(name="old", provider="openai", base=f"{upstream.base}/old/v1", check=every)
        new = MODEL.format(name="new", provider="ollama", base=f"{upstream.base}/new", check=every)
        none = MODEL.format(name="none", provider="openai", base=f"{upstream.base}/none/v1", check="")

        def seen(path: str) -> int:
            return sum(request.path == path for request in list(upstream.requests))

        async def until_seen(path: str, count: int) -> None:
            while seen(path) < count:
                await upstream.wait_requests(len(upstream.requests) + 1)

        with ServerProcess(old + none, env={"CHORUS_LOG": "error"}) as server:
            await upstream.wait_requests(3)
            assert {(request.method, request.path) for request in upstream.requests} == {("GET", "/old/v1/models")}
            server.reload(new + none)
            await until_seen("/new/api/version", 1)
            before = seen("/old/v1/models")
            await until_seen("/new/api/version", 10)
        assert seen("/old/v1/models") == before
        assert not seen("/none/v1/models")
        assert server.exit_code == 0
