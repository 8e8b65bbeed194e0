"""What goes wrong with a Redis, and how its keys are named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anyio
import pytest
from redis import Redis

from chorus.errors import ConfigError, NotFound, StorageUnavailable
from chorus.storage import redis as redis_module
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import Bounds, Item, Retention, Trace, UsageRow, merging
from tests.kit.programs import RedisServer
from tests.storage.conftest import emptied

pytestmark = pytest.mark.requirement("M2")
ANN = "1a2b3c4d"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    with RedisServer() as started:
        yield started


@pytest.fixture
async def storage(server: RedisServer) -> AsyncIterator[Storage]:
    async with open_storage(server.url) as opened:
        yield opened


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    """Somebody else at the same Redis."""
    with Redis.from_url(server.url, decode_responses=True) as connected:
        yield connected


async def test_conversations_have_the_keys_of_the_specification_and_end_with_their_age(
    redis_server: RedisServer,
) -> None:
    emptied(redis_server)
    async with open_storage(redis_server.url, Retention(conversations=Bounds(max_age_secs=3600))) as storage:
        await storage.conversations.create(ANN, "conv_1", user="eva", items=[Item("a", b"1")])
        await storage.conversations.append(ANN, "conv_1", [Item("b", b"2")])
    with Redis.from_url(redis_server.url, decode_responses=True) as client:
        assert client.hget("session:conv_1", "owner") == ANN
        assert client.zrange("session_messages:conv_1", 0, -1) == ["a", "b"]
        assert client.zrange(f"user_sessions:{ANN}:eva", 0, -1) == ["conv_1"]
        keys = client.keys("*")
        assert len(keys) == 4
        assert all(3500 < client.ttl(key) <= 3600 for key in keys)


async def test_all_other_keys_have_a_prefix(redis_server: RedisServer) -> None:
    emptied(redis_server)
    async with open_storage(redis_server.url) as storage:
        await storage.responses.put(ANN, "resp_1", b"1")
        await storage.runs.start(ANN, "resp_1", "p", b"1")
        await storage.traces.put([Trace(ANN, "run_1", b"1", b"2")])
        await storage.profiles.update(ANN, "eva", merging({"a": "b"}))
        await storage.usage.add(UsageRow(ANN, "eva", "m", "2026-11-26", 1))
    with Redis.from_url(redis_server.url, decode_responses=True) as client:
        assert all(key.startswith("chorus:") for key in client.keys("*"))


async def test_a_redis_that_is_killed_is_away_at_once_and_used_again_when_it_is_back(
    server: RedisServer, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "AWAY_SECS", 0.2)
    await storage.responses.put(ANN, "resp_1", b"1")
    await storage.conversations.create(ANN, "conv_1")
    server.stop()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await storage.responses.get(ANN, "resp_1")
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await storage.conversations.append(ANN, "conv_1", [Item("a", b"1")])
    assert time.monotonic() - began < 1
    server.start()
    with anyio.fail_after(10):
        while True:
            try:
                await storage.conversations.create(ANN, "conv_1", items=[Item("a", b"1")])
                break
            except StorageUnavailable:
                await anyio.sleep(0.02)
    assert await storage.responses.get(ANN, "resp_1") is None, "this Redis keeps nothing on a disk"
    assert (await storage.conversations.page(ANN, "conv_1")).items == [Item("a", b"1")]


async def test_a_redis_that_restarts_between_two_commands_is_not_noticed(server: RedisServer, storage: Storage) -> None:
    await storage.profiles.update(ANN, "eva", merging({"a": "1"}))
    # the event loop sees that the connections are closed
    await anyio.to_thread.run_sync(server.stop)
    await anyio.to_thread.run_sync(server.start)
    assert (await storage.profiles.update(ANN, "eva", merging({"b": "2"}))).notes == {"b": "2"}


@pytest.mark.slow
async def test_a_slow_redis_delays_one_request_for_its_limit_and_the_next_not_at_all(
    server: RedisServer, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "ANSWER_SECS", 0.2)
    monkeypatch.setattr(redis_module, "AWAY_SECS", 5.0)
    async with open_storage(server.url) as storage:
        await storage.responses.put(ANN, "resp_1", b"1")
        client.client_pause(1500)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="does not answer") as caught:
            await storage.responses.get(ANN, "resp_1")
        assert 0.1 < time.monotonic() - began < 1.2
        assert caught.value.retry_after == 5.0
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await storage.responses.get(ANN, "resp_1")
        assert time.monotonic() - began < 0.1


@pytest.mark.slow
async def test_a_late_answer_is_not_taken_for_that_of_another_command(
    server: RedisServer, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "ANSWER_SECS", 0.2)
    monkeypatch.setattr(redis_module, "AWAY_SECS", 0.0)
    async with open_storage(server.url) as storage:
        for name in ("a", "b"):
            await storage.responses.put(ANN, name, name.encode())
        for _ in range(3):
            client.client_pause(400)
            with pytest.raises(StorageUnavailable):
                await storage.responses.get(ANN, "a")
            client.client_unpause()
            assert await storage.responses.get(ANN, "b") == b"b"


async def test_a_full_redis_is_a_sentence_and_is_not_away(storage: Storage, client: Redis) -> None:
    await storage.responses.put(ANN, "resp_1", b"1")
    client.config_set("maxmemory", 1)
    with pytest.raises(StorageUnavailable, match="may be full"):
        await storage.responses.put(ANN, "resp_2", b"2")
    with pytest.raises(StorageUnavailable, match="may be full"):
        await storage.conversations.create(ANN, "conv_1", items=[Item("a", b"1")])
    assert await storage.responses.get(ANN, "resp_1") == b"1"
    client.config_set("maxmemory", 0)
    assert await storage.conversations.get(ANN, "conv_1") is None, "a script that is refused does nothing"
    await storage.conversations.create(ANN, "conv_1")


async def test_a_key_of_another_program_is_a_sentence(storage: Storage, client: Redis) -> None:
    client.set("session:conv_1", "theirs")
    with pytest.raises(StorageUnavailable, match="refuses"):
        await storage.conversations.get(ANN, "conv_1")
    with pytest.raises(StorageUnavailable, match="refuses"):
        await storage.conversations.append(ANN, "conv_1", [Item("a", b"1")])


async def test_an_append_that_is_cancelled_is_whole_or_not_there(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1")
    for number in range(50):
        task = asyncio.ensure_future(
            storage.conversations.append(
                ANN, "conv_1", [Item(f"{number}_{place}", b"1") for place in range(3)], turns=1
            )
        )
        await asyncio.sleep(0.0002 * (number % 5))
        task.cancel()
        await asyncio.wait([task])
    kept = (await storage.conversations.page(ANN, "conv_1", limit=1000)).items
    conversation = await storage.conversations.get(ANN, "conv_1")
    assert conversation is not None
    assert len(kept) == 3 * conversation.turns


async def test_a_server_can_start_before_its_redis(server: RedisServer) -> None:
    server.stop()
    async with open_storage(server.url) as storage:
        with pytest.raises(StorageUnavailable):
            await storage.responses.get(ANN, "resp_1")


async def test_traces_are_counted_exactly_when_some_end_by_their_age(redis_server: RedisServer) -> None:
    emptied(redis_server)
    async with open_storage(redis_server.url, Retention(traces=Bounds(None, 10, 1000))) as storage:
        for number in range(5):
            await storage.traces.put([Trace(ANN, str(number), b"x" * 100, b"")])
    with Redis.from_url(redis_server.url, decode_responses=True) as client:
        for number in (0, 1):
            client.delete(f"chorus:trace:{ANN}:{number}")  # as its age does
        async with open_storage(redis_server.url, Retention(traces=Bounds(None, 10, 1000))) as storage:
            await storage.traces.put([Trace(ANN, "5", b"y" * 50, b"")])
            assert len(await storage.traces.recent(10)) == 4
        assert client.get("chorus:traces:bytes") == "350"
        assert client.zcard("chorus:traces") == client.hlen("chorus:traces:sizes") == 4


@pytest.mark.parametrize("answer", [b":7\r\n", b"$-1\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b""])
async def test_whatever_answers_instead_of_redis_is_a_typed_error(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer and (request := await reader.read(65536)):
            writer.write(b"+OK\r\n" if b"CLIENT" in request else answer)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    async with listener, open_storage(url) as storage:
        asked: list[Callable[[], Awaitable[object]]] = [
            lambda: storage.conversations.append(ANN, "conv_1", [Item("a", b"1")]),
            lambda: storage.conversations.page(ANN, "conv_1"),
            lambda: storage.runs.get(ANN, "resp_1"),
            lambda: storage.runs.renew("p"),
            lambda: storage.traces.get(ANN, "run_1"),
            lambda: storage.usage.query(ANN),
        ]
        for ask in asked:
            with pytest.raises((StorageUnavailable, NotFound)):
                await ask()


@pytest.mark.parametrize(
    "url", ["redis://u:secret@h:port/0", "mysql://u:secret@h/0", "sqlite://", "sqlite:///", "memory", ""]
)
def test_an_address_of_nothing_is_a_sentence_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(url)
    assert "[storage] url" in caught.value.message
    assert "secret" not in caught.value.message


async def test_a_redis_that_only_reads_is_a_sentence_and_is_not_away(storage: Storage, client: Redis) -> None:
    await storage.responses.put(ANN, "resp_1", b"1")
    client.replicaof("127.0.0.1", 1)  # a replica, as after a failover
    for write in (
        storage.responses.put(ANN, "resp_2", b"2"),
        storage.conversations.create(ANN, "conv_1"),
        storage.usage.add(UsageRow(ANN, "", "m", "2026-11-26", 1)),
        storage.affinities.put(ANN, "s", "m", "r"),
    ):
        with pytest.raises(StorageUnavailable, match="refuses a command"):
            await write
    assert await storage.responses.get(ANN, "resp_1") == b"1"
    client.replicaof("NO", "ONE")
    await storage.responses.put(ANN, "resp_2", b"2")


async def test_two_hosts_that_write_at_once_lose_nothing_and_mix_nothing(server: RedisServer) -> None:
    async with open_storage(server.url) as one, open_storage(server.url) as two:
        await one.conversations.create(ANN, "conv_1")

        async def write(storage: Storage, host: str) -> None:
            for number in range(40):
                group = [Item(f"{host}{number}_{place}", b"1") for place in range(3)]
                await storage.conversations.append(ANN, "conv_1", group, turns=1)
                await storage.profiles.update(ANN, "eva", merging({f"{host}{number}": "1"}))
                await storage.usage.add(UsageRow(ANN, "", "m", "2026-11-26", 1, 1, 1, 1, 0.1))

        async with anyio.create_task_group() as group:
            group.start_soon(write, one, "a")
            group.start_soon(write, two, "b")
        ids = [item.id for item in (await two.conversations.page(ANN, "conv_1", limit=1000)).items]
        assert len(ids) == 240
        assert all(ids[at : at + 3] == [f"{ids[at][:-2]}_{place}" for place in range(3)] for at in range(0, 240, 3))
        conversation = await one.conversations.get(ANN, "conv_1")
        assert conversation is not None
        assert conversation.turns == 80
        profile = await one.profiles.get(ANN, "eva")
        assert profile is not None
        assert len(profile.notes) == 80
        [total] = await two.usage.query(ANN)
        assert (total.requests, total.cost) == (80, 8.0)


async def test_the_replica_of_a_session_has_the_key_of_the_specification(storage: Storage, client: Redis) -> None:
    await storage.affinities.put(ANN, "my session: 1", "m", "http://a#0")
    assert client.keys("*") == ["session_affinity:my session: 1"]
    assert 0 < client.ttl("session_affinity:my session: 1") <= 86_400
