"""Clients that speak HTTP as it was, or use its rarer parts: HTTP/1.0, `Connection: close`,
`Expect: 100-continue` (A5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kit import Say, ScriptedUpstream, Status
from tests.kit.peer import Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("A5")]

CONFIG = """
[server]
heartbeat_secs = 0.05

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""
USER = {"role": "user", "content": "How?"}
BODIES = {
    "/v1/chat/completions": {"messages": [USER]},
    "/v1/messages": {"messages": [USER], "max_tokens": 9},
    "/api/chat": {"messages": [USER]},
}
GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.base)) as server:
        yield server


def post(path: str, *, stream: bool, version: str, headers: str = "") -> bytes:
    body = json.dumps({"model": "glm", "stream": stream, **BODIES[path]})
    head = f"POST {path} HTTP/{version}\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return (head + body).encode()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("headers", ["", "connection: keep-alive\r\n"])
async def test_a_stream_for_http_1_0_has_no_chunks_and_ends_with_the_connection(
    served: Running, scripted: ScriptedUpstream, path: str, headers: str
) -> None:
    scripted.on("glm", Say("one two three", gap=0.1))
    async with Peer(served.base) as peer:
        await peer.send(post(path, stream=True, version="1.0", headers=headers))
        (answer,) = await peer.until_closed()
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["connection"] == "close"
    text = answer.body.decode()
    if path == "/api/chat":
        assert json.loads(text.splitlines()[-1])["done"] is True
    else:
        assert all(line.startswith((":", "data: ", "event: ")) for line in text.splitlines() if line)
        assert text.endswith("data: [DONE]\n\n" if path == "/v1/chat/completions" else '"message_stop"}\n\n')


@pytest.mark.parametrize("path", BODIES)
async def test_a_whole_answer_for_http_1_0_has_its_length(
    served: Running, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", Say("one two three"), Status(500))
    for status in (200, 502):
        async with Peer(served.base) as peer:
            await peer.send(post(path, stream=False, version="1.0"))
            (answer,) = await peer.until_closed()
        assert answer.status == status
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "transfer-encoding" not in answer.headers
        json.loads(answer.body)


async def test_http_1_0_without_a_body(served: Running) -> None:
    for method, length in (("GET", True), ("HEAD", False), ("OPTIONS", False)):
        async with Peer(served.base) as peer:
            await peer.send(f"{method} /health HTTP/1.0\r\n\r\n".encode())
            await peer.until_closed()
        head, _, body = bytes(peer.received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20")
        assert b"transfer-encoding" not in head
        assert bool(body) is length


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_wants_its_connection_closed_gets_it_closed(
    served: Running, scripted: ScriptedUpstream, stream: bool
) -> None:
    scripted.on("glm", Say("one two three"))
    data = post("/v1/chat/completions", stream=stream, version="1.1", headers="connection: close\r\n")
    async with Peer(served.base) as peer:
        await peer.send(data + GET)  # what comes behind it is no request any more
        (answer,) = await peer.until_closed()
    assert answer.status == 200
    assert answer.is_whole
    assert answer.headers["connection"] == "close"


async def test_a_client_that_asks_first_is_told_to_go_on(served: Running, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("one two three"))
    data = post("/v1/chat/completions", stream=True, version="1.1", headers="expect: 100-continue\r\n")
    head, body = data.split(b"\r\n\r\n")
    async with Peer(served.base) as peer:
        await peer.send(head + b"\r\n\r\n")
        assert (await peer.answer(1)).status == 100
        await peer.send(body)
        assert (await peer.answer(2)).body.endswith(b"data: [DONE]\n\n")
        await peer.send(data)  # that does not wait for it
        assert (await peer.answer(3)).status == 100
        assert (await peer.answer(4)).body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_asks_first_is_told_when_it_is_refused(served: Running, scripted: ScriptedUpstream) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    async with Peer(served.base) as peer:
        await peer.send(head)
        assert (await peer.answer()).status == 404


async def test_http_1_0_knows_no_100(served: Running, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("one"))
    async with Peer(served.base) as peer:
        await peer.send(post("/api/chat", stream=False, version="1.0", headers="expect: 100-continue\r\n"))
        (answer,) = await peer.until_closed()
    assert answer.status == 200
