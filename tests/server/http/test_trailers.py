"""What comes behind a chunked body is no header, and changes nothing (RFC 9110, 6.5.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.kit import Say, ScriptedUpstream
from tests.kit.peer import Answer, Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("S1"), pytest.mark.requirement("S3")]

CONFIG = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""
BODY = json.dumps({"model": "glm", "messages": [{"role": "user", "content": "How?"}]}).encode()


class Seen:
    """Keeps the headers that the application was given, as they are when its answer is out."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def around(self, app: ASGIApp) -> ASGIApp:
        async def see(scope: Scope, receive: Receive, send: Send) -> None:
            async def keep(message: Message) -> None:
                # before the client can have the answer
                self.headers = list(scope.get("headers", ()))
                await send(message)

            await app(scope, receive, keep)

        return see


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream, seen: Seen) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.base), around=seen.around) as server:
        yield server


@pytest.fixture(params=["in one packet", "in packets of their own"])
def at_once(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "in one packet")


async def ask(served: Running, trailers: str, *, headers: str = "", host: str = "localhost", at_once: bool) -> Answer:
    """The answer to a chunked request with these headers and trailers."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n{headers}\r\n".encode()
    parts = [head, b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY), f"{trailers}\r\n".encode()]
    async with Peer(served.base) as peer:
        for part in [b"".join(parts)] if at_once else parts:
            await peer.send(part)
        return await peer.answer()


@pytest.mark.parametrize(
    "trailers",
    [
        "authorization: Bearer sk-chorus-0123456789\r\n",
        "x-api-key: sk-chorus-0123456789\r\n",
        "host: evil.example.com\r\n",
        "origin: https://evil.example.com\r\n",
        "x-request-id: theirs\r\n",
        "content-encoding: gzip\r\n",
        "x-priority: nonsense\r\n",
        "connection: close\r\nexpect: 100-continue\r\nupgrade: h2c\r\n",
    ],
    ids=lambda trailers: str(trailers.partition(":")[0]),
)
async def test_a_trailer_changes_nothing(
    served: Running, scripted: ScriptedUpstream, seen: Seen, trailers: str, at_once: bool
) -> None:
    scripted.on("glm", Say("fine"))
    answer = await ask(served, trailers, headers="x-request-id: mine\r\n", at_once=at_once)
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "mine"
    assert [name for name, _ in seen.headers] == [b"host", b"transfer-encoding", b"x-request-id"]


@pytest.mark.parametrize("trailer", ["content-length: 1", "content-length: 9999", "transfer-encoding: chunked"])
async def test_a_trailer_that_would_be_framing_is_refused(
    served: Running, scripted: ScriptedUpstream, trailer: str, at_once: bool
) -> None:
    """The parser takes it for an attempt to hide a request from a proxy."""
    answer = await ask(served, f"{trailer}\r\n", at_once=at_once)
    assert answer.status == 400
    assert scripted.requests == []


async def test_a_host_in_the_trailer_opens_nothing(served: Running, scripted: ScriptedUpstream, at_once: bool) -> None:
    answer = await ask(served, "host: localhost\r\n", host="evil.example.com", at_once=at_once)
    assert answer.status == 403
    assert scripted.requests == []


async def test_a_request_after_one_with_trailers_has_its_headers(served: Running, scripted: ScriptedUpstream) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\n"
    async with Peer(served.base) as peer:
        await peer.send(head + b"transfer-encoding: chunked\r\n\r\n0\r\nx-request-id: first\r\n\r\n")
        assert (await peer.answer()).headers["x-request-id"] != "first"
        await peer.send(head + b"x-request-id: second\r\ncontent-length: 0\r\n\r\n")
        assert (await peer.answer(2)).headers["x-request-id"] == "second"
