"""Which connections are kept for the next request, and that none is left open (L1, L3)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from chorus.llm.transport.http import CannotConnect, ConnectionPool, Origin, Response, ServerDisconnectedError
from tests.kit.ports import free_port
from tests.llm.transport.http.listener import Accepted, Listener

pytestmark = [
    pytest.mark.requirement("L1"),
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: upstream\r\nContent-Length: 2\r\n\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: upstream\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n"


def ask(pool: ConnectionPool, *, retries: bool = False) -> asyncio.Task[Response]:
    """Begin a request."""
    head, body = (GET, b"") if retries else (HEAD, b"{}")
    return asyncio.ensure_future(pool.request(head, body, connect_secs=5, retries=retries))  # type: ignore[arg-type]


async def body_of(response: Response) -> bytes:
    """The body, to its end."""
    body = b""
    while part := await response.readany():
        body += part
    return body


async def exchange(
    pool: ConnectionPool, listener: Listener, answer: bytes, *, over: Accepted | None = None
) -> Accepted:
    """One exchange on a new connection, or over an accepted one, which gets `answer`."""
    asking = ask(pool)
    accepted = over or await listener.accept()
    await accepted.request()
    await accepted.send(answer)
    assert await body_of(await asking) == b"fine"
    return accepted


@asynccontextmanager
async def in_flight(pool: ConnectionPool, listener: Listener) -> AsyncIterator[tuple[Accepted, asyncio.Task[Response]]]:
    """A request that has been received and has no answer."""
    asking = ask(pool)
    accepted = await listener.accept()
    await accepted.request()
    yield accepted, asking


@pytest.mark.parametrize("answer", [OK, CHUNKED, b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + OK[17:]])
async def test_a_connection_is_used_again(pool: ConnectionPool, listener: Listener, answer: bytes) -> None:
    accepted = await exchange(pool, listener, answer)
    for _ in range(3):
        await exchange(pool, listener, answer, over=accepted)
    assert listener.count == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine",
        b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nfine",
        OK + b"H",
        OK + b"HTTP/1.1 200 OK\r\n",
        OK + OK.replace(b"fine", b"oops"),
        OK + b"HTTP/1.1 100 Continue\r\n\r\n",
        CHUNKED + b"garbage",
    ],
)
async def test_a_connection_is_not_used_again_after(pool: ConnectionPool, listener: Listener, answer: bytes) -> None:
    accepted = await exchange(pool, listener, answer)
    await accepted.until_closed()
    await exchange(pool, listener, OK)
    assert listener.count == 2


@pytest.mark.parametrize("late", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\noops"])
async def test_a_connection_that_was_closed_or_sent_to_is_not_used_again(
    pool: ConnectionPool, listener: Listener, late: bytes
) -> None:
    """The event loop has no turn between the upstream's doing and the next request."""
    accepted = await exchange(pool, listener, OK)
    if late:
        accepted._socket.send(late)
    else:
        accepted.close()
    await exchange(pool, listener, OK)
    assert listener.count == 2


async def test_what_comes_while_nobody_asks_closes_the_connection(pool: ConnectionPool, listener: Listener) -> None:
    accepted = await exchange(pool, listener, OK)
    await accepted.send(OK)
    await accepted.until_closed()
    assert "0 open, 0 idle" in repr(pool)


async def test_the_connection_that_was_used_last_is_used_first(pool: ConnectionPool, listener: Listener) -> None:
    async with in_flight(pool, listener) as (first, asking), in_flight(pool, listener) as (second, asking_too):
        await second.send(OK)
        await body_of(await asking_too)
        await first.send(OK)
        await body_of(await asking)
    await exchange(pool, listener, OK, over=first)
    assert "2 open, 2 idle" in repr(pool)


async def test_idle_connections_are_closed(listener: Listener) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, None), keepalive_secs=0.05)
    async with in_flight(pool, listener) as (first, asking):
        second = await exchange(pool, listener, OK)
        await second.until_closed()
        assert "1 open, 0 idle" in repr(pool)
        await first.send(OK)
        await body_of(await asking)
    await first.until_closed()
    assert "0 open, 0 idle" in repr(pool)
    await pool.aclose()


async def test_closing_closes_what_is_idle_and_what_is_in_use(listener: Listener) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, None), keepalive_secs=30)
    async with in_flight(pool, listener) as (used, asking):
        idle = await exchange(pool, listener, OK)
        await pool.aclose()
        with pytest.raises(ServerDisconnectedError):
            await asking
    await idle.until_closed()
    await used.until_closed()
    assert "0 open, 0 idle" in repr(pool)


# --- connections that turn out to be closed


async def test_a_request_into_a_connection_that_closes_is_an_error_and_not_repeated(
    pool: ConnectionPool, listener: Listener
) -> None:
    accepted = await exchange(pool, listener, OK)
    asking = ask(pool)
    await accepted.request()
    accepted.close()
    with pytest.raises(ServerDisconnectedError):
        await asking
    assert listener.count == 1


async def test_a_get_is_repeated_once(pool: ConnectionPool, listener: Listener) -> None:
    accepted = await exchange(pool, listener, OK)
    asking = ask(pool, retries=True)
    await accepted.request()
    accepted.close()
    again = await listener.accept()
    assert await again.request() == GET
    await again.send(OK)
    assert await body_of(await asking) == b"fine"
    asking = ask(pool, retries=True)
    await again.request()
    again.close()
    last = await listener.accept()
    await last.request()
    last.close()
    with pytest.raises(ServerDisconnectedError):
        await asking


# --- connecting


async def test_a_refused_connection_has_its_reason() -> None:
    pool = ConnectionPool(Origin("127.0.0.1", free_port(), None), keepalive_secs=30)
    with pytest.raises(CannotConnect) as refused:
        await ask(pool)
    assert "refused" in str(refused.value).lower() or "connect call failed" in str(refused.value).lower()


async def test_an_unknown_name_has_its_reason() -> None:
    pool = ConnectionPool(Origin("nowhere.invalid", 80, None), keepalive_secs=30)
    with pytest.raises(CannotConnect) as unknown:
        await ask(pool)
    assert unknown.value.strerror


# --- cancellation


async def test_cancelling_the_wait_for_a_head_closes_the_connection(pool: ConnectionPool, listener: Listener) -> None:
    async with in_flight(pool, listener) as (accepted, asking):
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await accepted.until_closed()


async def test_a_response_that_is_not_read_to_its_end_closes_its_connection(
    pool: ConnectionPool, listener: Listener
) -> None:
    async with in_flight(pool, listener) as (accepted, asking):
        await accepted.send(OK[:-1])
        response = await asking
        assert await response.readany() == b"fin"
        with anyio.move_on_after(0) as scope:
            await response.readany()
        assert scope.cancelled_caught
        response.close()
        await accepted.until_closed()
        with pytest.raises(ValueError, match="closed"):
            await response.readany()


async def test_cancelling_a_request_that_is_being_written_closes_the_connection(
    pool: ConnectionPool, listener: Listener
) -> None:
    asking = asyncio.ensure_future(pool.request(HEAD, bytes(50_000_000), connect_secs=5))
    accepted = await listener.accept()
    assert await accepted.receive(10) == HEAD[:10]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await accepted.until_closed()
    assert "0 open" in repr(pool)


# --- memory


async def test_a_closed_connection_is_freed_without_a_search_for_cycles(listener: Listener) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, None), keepalive_secs=30)
    gc.disable()
    try:
        async with in_flight(pool, listener) as (accepted, asking):
            connection = weakref.ref(next(iter(pool._open)))
            await accepted.send(OK)
            assert await body_of(await asking) == b"fine"
        await accepted.send(b"more")
        await accepted.until_closed()
        del asking
        while repr(pool) != f"<ConnectionPool of 127.0.0.1:{listener.port}: 0 open, 0 idle>":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)  # the loop itself lets go of its last callbacks
        assert connection() is None
    finally:
        gc.enable()
        await pool.aclose()
