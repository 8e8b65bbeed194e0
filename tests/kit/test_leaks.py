"""What `leaks.py` sees: tasks, sockets, and connections that are kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from . import ScriptedUpstream
from .leaks import nothing_left


@pytest.fixture
async def up() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


async def test_what_is_left_behind_is_seen(up: ScriptedUpstream) -> None:
    loop = asyncio.get_running_loop()
    with nothing_left(loop, [up]):
        pass
    with pytest.raises(AssertionError, match="forgotten"), nothing_left(loop, [up], within=0):
        task = loop.create_task(asyncio.sleep(60), name="forgotten")
    task.cancel()
    with pytest.raises(AssertionError, match="1 sockets"), nothing_left(loop, [up], within=0):
        left = socket.socket()
    left.close()
    kept = nothing_left(loop, [up], within=0)
    kept.__enter__()
    pair = [await asyncio.open_connection("127.0.0.1", up.port) for _ in range(2)]
    for _, writer in pair:
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: kit\r\n\r\n")
    await up.wait_requests(2)
    with pytest.raises(AssertionError, match=r"upstreams \[2\]"):
        kept.__exit__(None, None, None)
    for _, writer in pair:
        writer.close()
