"""Upstreams behind SOCKS proxies, end to end: the extra `socks` against a proxy on a real socket
(L1).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from chorus.cli import app
from tests.kit import Say, ScriptedUpstream
from tests.kit.socks import SocksServer
from tests.server.running import running

pytest.importorskip("aiohttp_socks")
pytestmark = pytest.mark.requirement("L1")

CONFIG = """
[[model]]
name = "glm"
api_base = "http://{host}:8000/v1"
retries = 0
{more}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@asynccontextmanager
async def served(host: str, proxy: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose model is at `host`, through `proxy` or that of the environment."""
    more = f'proxy = "{proxy}"' if proxy is not None else ""
    with running(CONFIG.format(host=host, more=more)) as server:
        # httpx would look for the proxies of the environment, too
        async with httpx.AsyncClient(base_url=server.base, timeout=10, verify=False, trust_env=False) as client:
            yield client


async def ask(client: httpx.AsyncClient, *, stream: bool = False) -> httpx.Response:
    body: dict[str, Any] = {"model": "glm", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("socks5", "127.1.2.3", (5, "127.1.2.3", 8000)),
        ("socks", "127.1.2.3", (5, "127.1.2.3", 8000)),
        ("socks5h", "llm.invalid", (5, "llm.invalid", 8000)),
        ("socks4", "127.1.2.3", (4, "127.1.2.3", 8000)),
        ("socks4a", "llm.invalid", (4, "llm.invalid", 8000)),
    ],
)
async def test_requests_go_through_the_proxy(scheme: str, host: str, expected: tuple[int, str, int]) -> None:
    async with ScriptedUpstream() as upstream, SocksServer(upstream.port) as proxy:
        upstream.on("glm", Say("one two three"))
        async with served(host, f"{scheme}://{proxy.address}") as client:
            assert (await ask(client)).json()["choices"][0]["message"]["content"] == "one two three"
            streamed = (await ask(client, stream=True)).text
            events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
            texts = [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]
            assert "".join(texts) == "one two three"
            # lists of models are asked for there, too
            assert (await client.get("/v1/models")).status_code == 200
        assert set(proxy.destinations) == {expected}
        assert "/v1/models" in {request.path for request in upstream.requests}


async def test_a_name_and_a_password() -> None:
    async with ScriptedUpstream() as upstream, SocksServer(upstream.port, user="me", password="s3cret/+") as proxy:
        async with served("llm.invalid", f"socks5h://me:s3cret%2F+@{proxy.address}") as client:
            assert (await ask(client)).status_code == 200
        async with served("llm.invalid", f"socks5h://me:wrong-word@{proxy.address}") as client:
            refused = await ask(client)
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "upstream_connect"
    assert "wrong-word" not in refused.text


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
async def test_a_proxy_that_opens_no_tunnel(scheme: str) -> None:
    async with ScriptedUpstream() as upstream, SocksServer(upstream.port, refuses=True) as proxy:
        async with served("llm.invalid", f"{scheme}://{proxy.address}") as client:
            refused = await ask(client)
        assert upstream.requests == []
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_connect")


async def test_a_proxy_that_is_not_there() -> None:
    async with SocksServer(1) as proxy:
        address = proxy.address
    async with served("llm.invalid", f"socks5h://{address}") as client:
        refused = await ask(client)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_connect")


async def test_the_proxy_of_the_environment(environment: pytest.MonkeyPatch) -> None:
    async with ScriptedUpstream() as upstream, SocksServer(upstream.port) as proxy:
        environment.setenv("ALL_PROXY", f"socks5h://{proxy.address}")
        async with served("llm.invalid") as client:
            assert (await ask(client)).status_code == 200
        assert proxy.destinations == [(5, "llm.invalid", 8000)]


def test_the_commands_reach_this_machine_without_a_socks_proxy(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    with ScriptedUpstream.in_thread() as upstream:
        upstream.on("qwen3", Say("hi"))
        environment.setenv("OLLAMA_HOST", upstream.base)
        result = CliRunner().invoke(app, ["init", "--config", str(tmp_path / "config.toml")])
    assert result.exit_code == 0, result.output
    assert "qwen3" in result.output


async def test_a_client_that_leaves_closes_the_tunnel() -> None:
    async with ScriptedUpstream() as upstream, SocksServer(upstream.port) as proxy:
        upstream.on("glm", Say(pieces=["word "] * 1000, gap=0.05))
        async with served("llm.invalid", f"socks5h://{proxy.address}") as client:
            body = {"model": "glm", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for _ in response.aiter_lines():
                    break
            await upstream.wait_idle()
            assert upstream.requests[0].was_cancelled
