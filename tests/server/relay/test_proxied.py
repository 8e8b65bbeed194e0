"""What is relayed to a model behind an HTTP proxy (L1): aiohttp sends it, with the same bounds and
errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from tests.kit import Hang, ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.kit.providers.relayed import AUDIO, MODEL, form, relayed
from tests.server.relay.raw import head, raw_client
from tests.server.running import running

pytestmark = pytest.mark.requirement("L1")
PATH = "/v1/audio/transcriptions"
CONFIG = """
[[model]]
name = "m"
model = "upstream-name"
api_base = "http://upstream.invalid:8000/v1"
proxy = "{proxy}"
retries = 0
"""
FILE = bytes(range(256)) * 4000


@pytest.fixture
async def proxy() -> AsyncIterator[ScriptedUpstream]:
    """A proxy that answers everything itself."""
    async with ScriptedUpstream() as started:
        yield started


async def test_every_kind_of_body_arrives(proxy: ScriptedUpstream) -> None:
    taken = relayed(proxy)
    with running(CONFIG.format(proxy=proxy.base)) as served:
        async with connected(served.base) as client:
            body = {"model": "m", "input": "x", "voice": "y"}
            assert (await client.post("/v1/audio/speech", json=body)).content == AUDIO
            for is_first in (True, False):
                parts: list[tuple[str, str | bytes, str | None]] = [("model", "m", None), ("file", FILE, "a")]
                content, headers = form(*parts[:: 1 if is_first else -1])

                async def pieces(content: bytes = content) -> AsyncIterator[bytes]:
                    for start in range(0, len(content), 100_000):
                        yield content[start : start + 100_000]

                for sent in (content, pieces()):
                    response = await client.post(PATH, content=sent, headers=headers)
                    assert response.json()["text"] == "two words"
    assert [received.fields["model"] for received in taken] == [MODEL] * 5
    assert [received.files["file"] for received in taken[1:]] == [FILE] * 4
    assert proxy.requests[0].headers["host"] == "upstream.invalid:8000"
    assert proxy.requests[1].headers["content-length"] == str(len(proxy.requests[1].body))
    assert proxy.requests[2].headers["transfer-encoding"] == "chunked"


async def test_what_is_refused_keeps_its_reason(proxy: ScriptedUpstream) -> None:
    proxy.on(PATH, Status(413, {"error": {"message": "too long a recording"}}))
    content, headers = form(("model", "m", None), ("file", FILE, "a"))
    with running(CONFIG.format(proxy=proxy.base)) as served:
        async with connected(served.base) as client:
            response = await client.post(PATH, content=content, headers=headers)
    assert response.status_code == 400
    assert "too long a recording" in response.json()["error"]["message"]


async def test_what_goes_wrong_with_the_body_is_said_as_it_is(proxy: ScriptedUpstream) -> None:
    relayed(proxy)
    content, headers = form(("model", "m", None), ("file", FILE, "a"), ("model", "other", None))
    with running(CONFIG.format(proxy=proxy.base)) as served:
        async with connected(served.base) as client:
            response = await client.post(PATH, content=content, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert proxy.requests == []


async def test_a_client_that_leaves(proxy: ScriptedUpstream) -> None:
    proxy.on(PATH, Hang("connect"))
    content, headers = form(("model", "m", None), ("file", FILE, "a"))
    with running(CONFIG.format(proxy=proxy.base)) as served:
        async with raw_client(served.base) as client:  # in mid-upload
            await client.send(head(PATH, headers["content-type"], len(content)) + content[:500_000])
        with anyio.fail_after(5):
            while served.chorus.live_runs.live_counts():
                await anyio.lowlevel.checkpoint()
        assert proxy.requests == []
        async with connected(served.base) as http:
            with anyio.move_on_after(0.5):
                await http.post(PATH, content=content, headers=headers)
        await proxy.wait_idle()
        assert proxy.requests[-1].was_cancelled


async def test_a_proxy_that_is_not_there() -> None:
    with running(CONFIG.format(proxy="http://127.0.0.1:1")) as served:
        async with connected(served.base) as client:
            response: httpx.Response = await client.post("/v1/rerank", json={"model": "m"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_connect")
