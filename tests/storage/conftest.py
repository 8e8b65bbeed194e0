"""Every kind of store, empty, for the contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from chorus.storage import redis as redis_module
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import Retention
from tests.kit.programs import RedisServer

Maker = Callable[[Retention], Storage]
"""Makes a store that is not opened yet."""


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """A maker of empty stores of one kind."""
    url = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/store/chorus.db"}.get(request.param)
    if url is None:
        server: RedisServer = request.getfixturevalue("redis_server")
        emptied(server)
        # a busy machine takes over a second now and then; a Redis that is away is tested apart
        monkeypatch.setattr(redis_module, "ANSWER_SECS", 20.0)
        url = server.url
    return lambda retention: open_storage(url, retention)


@pytest.fixture
async def storage(make: Maker) -> AsyncIterator[Storage]:
    """An open store without bounds."""
    async with make(Retention()) as opened:
        yield opened


def emptied(server: RedisServer) -> None:
    from redis import Redis

    with Redis.from_url(server.url) as client:
        client.flushall()


async def gone(read: Callable[[], Awaitable[object]]) -> None:
    """Return when `read` returns nothing any more: time passes in Redis as it does here."""
    with anyio.fail_after(10):
        while await read():  # noqa: ASYNC110
            await anyio.sleep(0.01)
