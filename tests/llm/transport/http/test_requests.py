"""What is sent: heads in bytes, and long bodies as the upstream takes them (L3)."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from chorus.llm.transport.http import ConnectionPool, header_line, request_head
from tests.llm.transport.http.listener import Accepted, Listener

pytestmark = [
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
LONG = b"0123456789abcdef" * (20_000_000 // 16)


def head_of_long(size: int = len(LONG)) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: %d\r\n\r\n" % size


# --- heads


def test_a_head_is_written_in_full() -> None:
    head = request_head("POST", URL("http://10.0.0.5:8000/v1/chat?a=b#c"), {"content-type": "application/json"})
    assert head == (
        b"POST /v1/chat?a=b HTTP/1.1\r\nHost: 10.0.0.5:8000\r\nAccept: */*\r\ncontent-type: application/json\r\n"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:8000/v1", "[::1]:8000"),
        ("http://[2001:db8::1]/v1", "[2001:db8::1]"),
        ("https://api.example.com:443/v1", "api.example.com"),
        ("http://api.example.com:443/v1", "api.example.com:443"),
        ("http://bücher.example/v1", "xn--bcher-kva.example"),
        ("http://api.example.com./v1", "api.example.com"),
    ],
)
def test_the_host_is_named_as_http_wants_it(url: str, host: str) -> None:
    assert f"\r\nHost: {host}\r\n".encode() in request_head("GET", URL(url), {})


def test_configured_headers_count_more_than_our_own_and_once_each() -> None:
    headers = {"content-type": "a/b", "Content-Type": "c/d", "HOST": "other", "accept": "x/y", "X-Name": "schön"}
    head = request_head("GET", URL("http://glm/v1"), headers)
    assert head == "GET /v1 HTTP/1.1\r\nHOST: other\r\naccept: x/y\r\nContent-Type: c/d\r\nX-Name: schön\r\n".encode()


def test_the_length_of_the_body_is_not_a_configured_one() -> None:
    head = request_head("POST", URL("http://glm/v1"), {"Content-Length": "5", "transfer-encoding": "chunked"})
    assert b"ength" not in head
    assert b"chunked" not in head


def test_credentials_in_the_address_are_sent_as_basic() -> None:
    head = request_head("GET", URL("http://Aladdin:open%20sesame@glm/v1"), {})
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in head
    assert b"sesame" not in head
    with pytest.raises(ValueError, match="password"):
        request_head("GET", URL("http://a:b@glm/v1"), {"authorization": "Bearer sk"})


@given(st.text(max_size=20), st.sampled_from("\r\n\0"), st.text(max_size=20))
def test_a_header_never_becomes_two(before: str, sign: str, behind: str) -> None:
    for name, value in (("x", before + sign + behind), (before + sign + behind, "x")):
        with pytest.raises(ValueError, match="cannot be sent"):
            header_line(name, value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\t"])
def test_a_name_that_is_no_token_is_not_sent(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        header_line(name, "x")


# --- bodies


async def received(accepted: Accepted, size: int) -> bytes:
    """The hash of the next `size` bytes."""
    digest = hashlib.sha256()
    while size:
        data = await accepted.receive(min(size, 1 << 20))
        assert data
        digest.update(data)
        size -= len(data)
    return digest.digest()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 1_000_000])
async def test_a_body_of_any_size_arrives(pool: ConnectionPool, listener: Listener, size: int) -> None:
    for _ in range(2):  # the second one over the same connection
        asking = asyncio.ensure_future(pool.request(head_of_long(size), LONG[:size], connect_secs=5))
        accepted = await listener.accept() if not listener.count else listener.latest
        assert await accepted.request() == head_of_long(size) + LONG[:size]
        await accepted.send(OK)
        response = await asking
        assert await response.readany() == b"fine"
    assert listener.count == 1


async def test_a_long_body_is_written_as_the_upstream_takes_it(pool: ConnectionPool, listener: Listener) -> None:
    """What the transport holds of it is bounded."""
    asking = asyncio.ensure_future(pool.request(head_of_long(), LONG, connect_secs=5))
    accepted = await listener.accept()
    assert await received(accepted, len(head_of_long())) == hashlib.sha256(head_of_long()).digest()
    (connection,) = pool._open
    assert connection._transport is not None
    most = 0
    digest, left = hashlib.sha256(), len(LONG)
    while left:
        most = max(most, connection._transport.get_write_buffer_size())
        data = await accepted.receive(min(left, 100_000))
        digest.update(data)
        left -= len(data)
    assert digest.digest() == hashlib.sha256(LONG).digest()
    assert 0 < most <= 1_000_000
    await accepted.send(OK)
    assert (await asking).status == 200


async def test_an_answer_before_the_request_is_whole_is_an_answer(pool: ConnectionPool, listener: Listener) -> None:
    """The connection is closed behind it, since the rest of the request has nowhere to go."""
    asking = asyncio.ensure_future(pool.request(head_of_long(), LONG, connect_secs=5))
    accepted = await listener.accept()
    await accepted.receive(1000)
    await accepted.send(OK.replace(b"200 OK", b"413 Too Large"))
    response = await asking
    assert response.status == 413
    assert await response.readany() == b"fine"
    await accepted.until_closed()


async def test_a_body_is_written_on_while_the_answer_comes(pool: ConnectionPool, listener: Listener) -> None:
    asking = asyncio.ensure_future(pool.request(head_of_long(), LONG, connect_secs=5))
    accepted = await listener.accept()
    begun = len(await accepted.receive(1000))
    await accepted.send(OK[:-4])
    response = await asking
    await received(accepted, len(head_of_long()) + len(LONG) - begun)
    await accepted.send(b"fine")
    assert await response.readany() == b"fine"
    assert await response.readany() == b""
