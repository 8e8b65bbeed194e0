"""Every test of this folder runs on both event loops: uvloop serves on Linux and macOS, asyncio's
own on Windows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from chorus.llm.transport.http import ConnectionPool, Origin
from tests.llm.transport.http.listener import Listener


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
async def pool(listener: Listener) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, None), keepalive_secs=30)
    yield pool
    await pool.aclose()
    assert "0 open, 0 idle" in repr(pool)
