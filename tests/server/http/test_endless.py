"""Parts of a request that never end: they are refused, with one answer, when they are larger than
64 KiB (S3).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import anyio
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chorus.server.http.connections import Bounds
from tests.kit import Say, ScriptedUpstream
from tests.kit.peer import Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("S3")]

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
BODY = json.dumps({"model": "glm", "messages": [{"role": "user", "content": "How?"}]}).encode()
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
WHOLE_BODY = CHUNKED + b"%x\r\n%b\r\n" % (len(BODY), BODY)
TAKEN = 16 * 1024 * 1024
"""Bytes that the kernel may take for a server that has stopped reading."""

CONFIG = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.base), bounds=Bounds(idle_secs=0.5)) as server:
        yield server


# fmt: off
ENDLESS = {
    # what                   begins with                   and goes on with           its answer
    "method":               (b"",                          b"A" * 9000,               400),
    "line ends":            (b"",                          b"\r\n" * 9000,            431),
    "path":                 (b"GET /",                     b"a" * 9000,               431),
    "query":                (b"GET /?",                    b"a" * 9000,               431),
    "header name":          (POST,                         b"a" * 9000,               431),
    "header value":         (POST + b"x-long: ",           b"a" * 9000,               431),
    "spaces before value":  (POST + b"x-long: ",           b" " * 9000,               431),
    "headers":              (POST,                         b"x: y\r\n" * 1500,        431),
    "headers without text": (POST,                         b"x:\r\n" * 1500,          431),
    "chunk size":           (CHUNKED,                      b"0" * 9000,               431),
    "chunk extension":      (CHUNKED + b"5;a=",            b"a" * 9000,               431),
    "extension of the end": (WHOLE_BODY + b"0;a=",         b"a" * 9000,               431),
    "trailer name":         (WHOLE_BODY + b"0\r\n",        b"a" * 9000,               431),
    "trailer value":        (WHOLE_BODY + b"0\r\nx: ",     b"a" * 9000,               431),
    "trailers":             (WHOLE_BODY + b"0\r\n",        b"x: y\r\n" * 1500,        431),
}
# fmt: on


@pytest.mark.parametrize("name", ENDLESS)
async def test_what_never_ends_is_refused_once_it_is_large(
    served: Running, scripted: ScriptedUpstream, name: str
) -> None:
    begins, goes_on, status = ENDLESS[name]
    sent = 0
    async with Peer(served.base) as peer:
        await peer.send(begins)
        with suppress(ConnectionError):
            while sent < TAKEN:
                await peer.send(goes_on)
                sent += len(goes_on)
        answers = await peer.until_closed()
    assert sent < TAKEN
    assert [answer.status for answer in answers] == [status]
    assert json.loads(answers[0].body)["error"]["request_id"] == answers[0].headers["x-request-id"]
    assert scripted.requests == []


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("size", [10, 40])
@pytest.mark.parametrize("name", [name for name, (_, _, status) in ENDLESS.items() if status == 431])
async def test_it_is_refused_in_one_packet_too(
    served: Running, scripted: ScriptedUpstream, name: str, size: int, before: bytes
) -> None:
    """90 kB, which the server reads at once, and 360 kB, which it does not; neither goes on."""
    begins, goes_on, _ = ENDLESS[name]
    async with Peer(served.base) as peer:
        await peer.send(before + begins + goes_on * size)
        answers = await peer.until_closed()
    assert [answer.status for answer in answers] == ([200, 431] if before else [431])


async def test_what_stays_below_is_served(served: Running, scripted: ScriptedUpstream) -> None:
    """60 kB of headers, a chunk a byte with extensions that are large together, and trailers."""
    scripted.on("glm", Say("fine"))
    head = POST + b"x-long: " + b"a" * 30_000 + b"\r\n" + b"x: y\r\n" * 2000 + b"transfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1;note=%b\r\n%c\r\n" % (b"n" * 1000, byte) for byte in BODY)
    async with Peer(served.base) as peer:
        await peer.send(head + chunks + b"0\r\nx-sum: 1\r\n\r\n")
        assert (await peer.answer()).status == 200
        await peer.send(head + chunks + b"0\r\nx-sum: 1\r\n\r\n")  # each request is counted anew
        assert (await peer.answer(2)).status == 200


@given(data=st.binary(min_size=1, max_size=300), cuts=st.lists(st.integers(1, 300), max_size=4))
def test_whatever_is_no_http_gets_one_refusal(served: Running, data: bytes, cuts: list[int]) -> None:
    """However it is cut into packets. Line ends before a request are no fault."""
    assume(data.strip(b"\r\n"))
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    parts = [data[begin:end] for begin, end in pairwise([0, *ends])]

    async def talk() -> None:
        async with Peer(served.base) as peer:
            with suppress(ConnectionError):
                for part in [*parts, b"\r\n\r\n", b"\r\n"]:
                    await peer.send(part)
            (answer,) = await peer.until_closed()
            assert answer.status == 400
            assert answer.is_whole

    anyio.run(talk)
