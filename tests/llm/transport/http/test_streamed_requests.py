"""Requests whose bodies come piece by piece (L3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest

from chorus.errors import ClientGone
from chorus.llm.transport.http import CannotConnect, ConnectionPool, Origin, ServerDisconnectedError
from tests.llm.transport.http.listener import Listener

pytestmark = [
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
HEAD = b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
PIECE = b"0123456789abcdef" * 4096
MANY = 300


class Body:
    """A body of `count` pieces, which says how far it was read."""

    def __init__(self, count: int, error: Exception | None = None, waits: bool = False) -> None:
        self.count = count
        self.taken = 0
        self.is_closed = False
        self._error = error
        self._waits = waits

    @property
    def head(self) -> bytes:
        return HEAD % (self.count * len(PIECE))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self.count):
                self.taken += 1
                yield PIECE
            if self._error is not None:
                raise self._error
            if self._waits:
                await anyio.sleep_forever()
        finally:
            self.is_closed = True


def ask(pool: ConnectionPool, body: Body, *, is_new: bool = False) -> asyncio.Task[object]:
    asking = pool.request_streamed(body.head, body.pieces(), connect_secs=5, is_new=is_new)
    return asyncio.ensure_future(asking)  # type: ignore[return-value]


@pytest.mark.parametrize("count", [0, 1, MANY])
async def test_a_body_arrives_and_the_connection_is_kept(pool: ConnectionPool, listener: Listener, count: int) -> None:
    for _ in range(2):
        body = Body(count)
        asking = ask(pool, body)
        accepted = await listener.accept() if not listener.count else listener.latest
        assert await accepted.request() == body.head + PIECE * count
        await accepted.send(OK)
        response = await asking
        assert await response.readany() == b"fine"  # type: ignore[attr-defined]
        assert body.is_closed
    assert listener.count == 1
    assert "1 open, 1 idle" in repr(pool)


async def test_a_kept_connection_is_not_used_for_a_body_that_is_sent_once(
    pool: ConnectionPool, listener: Listener
) -> None:
    for number in (1, 2):
        asking = ask(pool, Body(1), is_new=True)
        accepted = await listener.accept()
        await accepted.request()
        await accepted.send(OK)
        await asking
        assert listener.count == number


async def test_the_body_is_read_as_the_upstream_takes_it(pool: ConnectionPool, listener: Listener) -> None:
    body = Body(MANY)
    asking = ask(pool, body)
    accepted = await listener.accept()
    await accepted.receive(1000)
    for _ in range(200):
        await asyncio.sleep(0)
    assert body.taken < MANY  # the kernel's buffers hold some megabytes
    (connection,) = pool._open
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < 4 * len(PIECE)
    await accepted.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfine")
    response = await asking
    assert response.status == 413  # type: ignore[attr-defined]
    assert body.taken < MANY
    assert body.is_closed
    assert await response.readany() == b"fine"  # type: ignore[attr-defined]
    await accepted.until_closed()


async def test_a_success_before_the_body_has_ended_waits_for_it(pool: ConnectionPool, listener: Listener) -> None:
    body = Body(MANY)
    asking = ask(pool, body)
    accepted = await listener.accept()
    left = len(body.head) + MANY * len(PIECE) - len(await accepted.receive(10))
    await accepted.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    while left:
        left -= len(await accepted.receive(left))
    await accepted.send(b"fine")
    response = await asking
    assert await response.readany() == b"fine"  # type: ignore[attr-defined]


async def test_a_whole_answer_before_the_body_has_ended_is_one(pool: ConnectionPool, listener: Listener) -> None:
    body = Body(1, waits=True)
    asking = ask(pool, body)
    accepted = await listener.accept()
    await accepted.receive(10)
    await accepted.send(OK)
    response = await asking
    assert await response.readany() == b"fine"  # type: ignore[attr-defined]
    assert body.is_closed
    await accepted.until_closed()
    assert "0 idle" in repr(pool)


@pytest.mark.parametrize("waits", [True, False])
async def test_an_upstream_that_ends_in_mid_body(pool: ConnectionPool, listener: Listener, waits: bool) -> None:
    body = Body(1 if waits else MANY, waits=waits)
    asking = ask(pool, body)
    accepted = await listener.accept()
    await accepted.receive(1000)
    accepted.close()
    with pytest.raises(ServerDisconnectedError):
        await asking
    assert body.is_closed


async def test_an_error_of_the_body_closes_the_connection(pool: ConnectionPool, listener: Listener) -> None:
    body = Body(1, ClientGone("gone"))
    asking = ask(pool, body)
    accepted = await listener.accept()
    with pytest.raises(ClientGone):
        await asking
    await accepted.until_closed()
    assert "0 open" in repr(pool)


async def test_a_caller_that_gives_up_closes_both(pool: ConnectionPool, listener: Listener) -> None:
    for body in (Body(MANY), Body(1, waits=True), Body(0)):
        asking = ask(pool, body)
        accepted = await listener.accept()
        await accepted.receive(10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert body.is_closed
        await accepted.until_closed()


async def test_nothing_is_taken_without_a_connection() -> None:
    with Listener() as gone:
        port = gone.port
    pool = ConnectionPool(Origin("127.0.0.1", port, None), keepalive_secs=30)
    body = Body(1)
    with pytest.raises(CannotConnect):
        await ask(pool, body)
    assert body.taken == 0
    await pool.aclose()


async def test_a_refusal_behind_which_the_upstream_closes(pool: ConnectionPool, listener: Listener) -> None:
    """The sender may be about to write when both have come."""
    for _ in range(20):
        asking = ask(pool, Body(MANY))
        accepted = await listener.accept()
        await accepted.receive(1 << 20)
        await accepted.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfine")
        response = await asking
        assert response.status == 413  # type: ignore[attr-defined]
        assert await response.readany() == b"fine"  # type: ignore[attr-defined]
