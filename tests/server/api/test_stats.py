"""The feed of what the server does (O4), over real sockets."""

from __future__ import annotations

import anyio
import httpx
import pytest

from chorus.server.api.stats import STATS_PATH
from tests.kit import ScriptedUpstream, ServerProcess
from tests.kit.sse import read_server_sent

pytestmark = pytest.mark.requirement("O5")


async def test_a_reader_gets_the_past_and_then_each_second(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", STATS_PATH) as feed:
        assert feed.headers["content-type"].startswith("text/event-stream")
        events = read_server_sent(feed.aiter_lines())
        first = await anext(events)
        assert (first.type, first.data["interval_secs"]) == ("history", 1)
        await client.post("/v1/completions", json={"model": "glm", "prompt": "How?"})
        with anyio.fail_after(10):
            async for event in events:
                assert event.type == "sample"
                if "glm" in event.data["models"] and event.data["first_token_ms"]:
                    break
    # earlier tests ask, too, and a workflow of theirs may call the model more than once
    assert event.data["requests"] >= 1
    assert event.data["models"]["glm"]["calls"] >= 1
    assert event.data["first_token_ms"]["p50"] > 0
    assert {replica["model"] for replica in event.data["replicas"]} == {"glm", "kimi"}
    async with client.stream("GET", STATS_PATH) as feed:
        history = await anext(read_server_sent(feed.aiter_lines()))
    assert sum(sample["requests"] for sample in history.data["samples"]) >= 1


async def test_a_slow_reader_holds_back_nobody(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", STATS_PATH) as slow:
        async with client.stream("GET", STATS_PATH) as feed:
            events = read_server_sent(feed.aiter_lines())
            seen = [(await anext(events)).type for _ in range(3)]
        assert seen == ["history", "sample", "sample"]
        assert slow.status_code == 200


async def test_a_server_that_stops_ends_the_feed(scripted: ScriptedUpstream) -> None:
    text = f'[[model]]\nname = "glm"\napi_base = "{scripted.base}/v1"\n'
    with ServerProcess(text) as server:
        async with (
            httpx.AsyncClient(base_url=server.base, timeout=20, verify=False) as client,
            client.stream("GET", STATS_PATH) as feed,
        ):
            events = read_server_sent(feed.aiter_lines())
            await anext(events)
            server.terminate()
            last = [event async for event in events][-1]
    assert (last.type, last.data) == ("end", {"reason": "server_stopping"})
