"""One connection, fed by hand: what it reads, and that it sees the end of it (W13)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState

from chorus.server.http.connections import Bounds, Connections
from chorus.server.http.protocol import HttpProtocol
from chorus.server.http.wire import disconnect_of
from chorus.telemetry.metrics import Metrics

BOUNDS = Bounds(request_secs=60, idle_secs=75, write_secs=60, max_write_bytes=1 << 20)


@pytest.mark.parametrize("size", [10, HIGH_WATER_LIMIT, 4 * HIGH_WATER_LIMIT])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.requirement("W13")
async def test_a_client_that_disconnects_after_its_request_is_noticed(size: int, pieces: int) -> None:
    """The last piece of a body may be large enough to pause reading; an unread connection never shows its end."""
    is_waiting, has_read, has_left = anyio.Event(), anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        disconnect_of(scope).subscribe(has_left.set)
        asyncio.get_running_loop().call_soon(is_waiting.set)
        while (await receive())["more_body"]:
            pass
        has_read.set()
        await has_left.wait()

    loop = asyncio.get_running_loop()
    connections = Connections(BOUNDS, Metrics(list, list))
    config = Config(app, log_config=None)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with anyio.fail_after(10):
        _, protocol = await loop.connect_accepted_socket(
            lambda: HttpProtocol(config, ServerState(), {}, connections=connections), ours
        )
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
        await is_waiting.wait()
        for piece in (b"x" * (size - size // pieces * (pieces - 1)), *[b"x" * (size // pieces)] * (pieces - 1)):
            protocol.data_received(piece)
        await has_read.wait()
        theirs.close()
        await has_left.wait()
