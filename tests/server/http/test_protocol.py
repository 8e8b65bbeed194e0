"""One connection, fed by hand: what it reads, and that it sees the end of it (W13)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState

from chorus.server.http.connections import Bounds, Connections
from chorus.server.http.protocol import HttpProtocol
from chorus.server.http.wire import disconnect_of, send_text
from chorus.telemetry.metrics import Metrics

BOUNDS = Bounds(request_secs=60, idle_secs=75, write_secs=60, max_write_bytes=1 << 20)


@pytest.mark.parametrize("size", [10, HIGH_WATER_LIMIT, 4 * HIGH_WATER_LIMIT])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.requirement("W13")
async def test_a_client_that_disconnects_after_its_request_is_noticed(size: int, pieces: int) -> None:
    """The last piece of a body may be large enough to pause reading.

    An unread connection never shows its end.
    """
    is_waiting, has_read, has_left = anyio.Event(), anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        disconnect_of(scope).subscribe(has_left.set)
        asyncio.get_running_loop().call_soon(is_waiting.set)
        while (await receive())["more_body"]:
            pass
        has_read.set()
        await has_left.wait()

    with anyio.fail_after(10):
        protocol, theirs = await connected(app)
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
        await is_waiting.wait()
        for piece in (b"x" * (size - size // pieces * (pieces - 1)), *[b"x" * (size // pieces)] * (pieces - 1)):
            protocol.data_received(piece)
        await has_read.wait()
        theirs.close()
        await has_left.wait()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_the_headers_of_an_answer_leave_with_its_body(method: str, size: int) -> None:
    body = b"x" * size

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send_text(send, body, "text/plain")

    with anyio.fail_after(10):
        protocol, theirs = await connected(app)
        written: list[bytes] = []
        protocol.transport.write = written.append  # type: ignore[method-assign]
        protocol.data_received(f"{method} / HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        while not protocol.cycle.response_complete:
            await anyio.lowlevel.checkpoint()
    sent = b"".join(written)
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert sent.endswith(b"\r\n\r\n" + (b"" if method == "HEAD" else body))
    assert len(written) == (1 if size <= 10 else 2 - (method == "HEAD"))
    theirs.close()


async def connected(app: ASGIApp) -> tuple[HttpProtocol, socket.socket]:
    """A connection whose requests `app` answers, and the client's end of it."""
    connections = Connections(BOUNDS, Metrics(list, list))
    config = Config(app, log_config=None)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: HttpProtocol(config, ServerState(), {}, connections=connections), ours
    )
    return protocol, theirs
