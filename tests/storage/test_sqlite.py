"""What goes wrong with an SQLite file, and who may read it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from pathlib import Path

import anyio
import pytest

from chorus.errors import NotFound, StorageUnavailable
from chorus.storage import database as database_module
from chorus.storage import guard, writer
from chorus.storage.base import Storage
from chorus.storage.guard import guarded
from chorus.storage.opening import open_storage
from chorus.storage.records import Item, UsageRow

# ruff: noqa: ASYNC240  (the files of these tests are small)
pytestmark = pytest.mark.requirement("M2")
ROOT = Path(__file__).resolve().parents[2]
ANN = "1a2b3c4d"
DAY = "2026-11-26"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "chorus.db"


def store(path: Path) -> Storage:
    return open_storage(f"sqlite:///{path}")


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    async with store(path) as opened:
        yield opened


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None, timeout=10))


async def test_only_its_owner_can_read_it(storage: Storage, path: Path) -> None:
    await storage.responses.put(ANN, "resp_1", b"1")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("chorus.db", "chorus.db-wal", "chorus.db-shm", "chorus.db-writer"), 0o600)


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    async with store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_is_kept_is_there_after_a_restart(path: Path) -> None:
    async with store(path) as storage:
        await storage.conversations.create(ANN, "conv_1", items=[Item("a", b"1")])
    async with store(path) as storage:
        assert (await storage.conversations.page(ANN, "conv_1")).items == [Item("a", b"1")]
    left = {file.name for file in path.parent.iterdir()}
    assert left == {"chorus.db", "chorus.db-writer"}, "the write-ahead log is part of it again"


async def test_a_store_that_is_closed_says_so(path: Path) -> None:
    async with store(path) as storage:
        await storage.responses.get(ANN, "resp_1")
    for refused in (storage.responses.get(ANN, "resp_1"), storage.responses.put(ANN, "resp_1", b"1")):
        with pytest.raises(StorageUnavailable, match="closed"):
            await refused
    await storage.aclose()


# --- faults


async def test_a_file_that_is_no_database_is_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but longer than the header of one" * 100)
    with pytest.raises(StorageUnavailable, match="damaged, or no SQLite database"):
        await store(path).__aenter__()


async def test_a_file_that_is_damaged_while_it_is_used_is_a_sentence_and_can_be_replaced(path: Path) -> None:
    async with store(path) as storage:
        for number in range(200):
            await storage.responses.put(ANN, str(number), b"x" * 2000)
    good = path.read_bytes()
    half = len(good) // 2  # the schema stays, so that the file opens
    path.write_bytes(good[:half] + b"\xff" * half)
    async with store(path) as storage:
        with pytest.raises(StorageUnavailable, match="damaged"):
            await storage.responses.get(ANN, "190")
        with pytest.raises(StorageUnavailable, match="damaged"):
            await storage.responses.put(ANN, "190", b"1")
        path.write_bytes(good)
        await storage.responses.put(ANN, "1", b"1")
        assert await storage.responses.get(ANN, "1") == b"1"


async def test_a_lock_that_is_held_is_waited_for_and_then_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECS", 0.2)
    async with store(path) as storage:
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="Another process has held the lock"):
                await storage.responses.put(ANN, "resp_1", b"1")
            assert await storage.responses.get(ANN, "resp_1") is None, "reading goes on"
            other.execute("ROLLBACK")
        await storage.responses.put(ANN, "resp_1", b"1")
        assert await storage.responses.get(ANN, "resp_1") == b"1"


async def test_a_full_disk_is_a_sentence_and_what_fits_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = database_module.connected

    def small(path: str, *, is_uri: bool = False) -> sqlite3.Connection:
        connection = connect(path, is_uri=is_uri)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    monkeypatch.setattr("chorus.storage.sqlite.connected", small)
    async with store(path) as storage:
        outcomes: dict[str, bool] = {}

        async def put(id: str, size: int) -> None:
            try:
                await storage.responses.put(ANN, id, b"x" * size)
                outcomes[id] = True
            except StorageUnavailable as problem:
                outcomes[id] = problem.message != "The disk of the database is full."

        async with anyio.create_task_group() as group:  # in one transaction
            group.start_soon(put, "small", 10)
            group.start_soon(put, "large", 1_000_000)
            group.start_soon(put, "small too", 10)
        assert outcomes == {"small": True, "large": False, "small too": True}
        assert await storage.responses.get(ANN, "small") == b"x" * 10
        assert await storage.responses.get(ANN, "large") is None
    monkeypatch.undo()
    async with store(path) as storage:
        await storage.responses.put(ANN, "large", b"x" * 1_000_000)


_FULL = """
import resource, signal, sys, anyio
from chorus.errors import StorageUnavailable
from chorus.storage.opening import open_storage

async def main():
    async with open_storage(f"sqlite:///{sys.argv[1]}") as storage:
        await storage.responses.put("o", "before", b"1")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            await storage.responses.put("o", "large", b"x" * 1_000_000)
        except StorageUnavailable as problem:
            print(problem.message)
        assert await storage.responses.get("o", "before") == b"1"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await storage.responses.put("o", "large", b"x" * 1_000_000)

anyio.run(main)
"""


@pytest.mark.slow
def test_a_disk_that_takes_no_more_bytes_is_a_sentence_and_the_thread_goes_on(path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.strip().splitlines()[-1] in (
        "The disk of the database is full.",
        "The disk of the database does not read or write.",
    ), ended.stderr
    assert ended.returncode == 0, ended.stderr


_READ_ONLY = """
import os, sys, anyio
from chorus.errors import StorageUnavailable
from chorus.storage.opening import open_storage

async def main():
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)  # a file's mode holds for everybody but root
    try:
        async with open_storage(f"sqlite:///{sys.argv[1]}"):
            print("opened")
    except StorageUnavailable as problem:
        print(problem.message)

anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_file_that_cannot_be_written_is_a_sentence(place: str) -> None:
    folder = Path(tempfile.mkdtemp())  # not pytest's, which only its user may enter
    try:
        os.chmod(folder, 0o555 if place == "folder" else 0o755)
        if place == "file":
            (folder / "chorus.db").touch(0o444)
        command = [sys.executable, "-c", _READ_ONLY, str(folder / "chorus.db")]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert "cannot be opened: Permission denied." in ended.stdout, ended.stderr
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)


async def test_a_database_that_becomes_read_only_is_a_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store(path) as storage:
        with monkeypatch.context() as patch:
            connect = database_module.connected

            def read_only(path: str, *, is_uri: bool = False) -> sqlite3.Connection:
                connection = connect(path, is_uri=is_uri)
                connection.execute("PRAGMA query_only = ON")
                return connection

            patch.setattr("chorus.storage.sqlite.connected", read_only)
            with pytest.raises(StorageUnavailable, match="read-only"):
                await storage.responses.put(ANN, "resp_1", b"1")
        await storage.responses.put(ANN, "resp_1", b"1")


async def test_too_many_writes_that_wait_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 3)
    async with store(path) as storage:
        await storage.responses.put(ANN, "0", b"1")
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            refused: list[str] = []
            sentences: set[str] = set()

            async def put(id: str) -> None:
                try:
                    await storage.responses.put(ANN, id, b"1")
                except StorageUnavailable as problem:
                    refused.append(id)
                    sentences.add(problem.message)

            async with anyio.create_task_group() as group:
                for number in range(1, 20):
                    group.start_soon(put, str(number))
                await anyio.wait_all_tasks_blocked()
                other.execute("ROLLBACK")
        assert sentences == {"The disk of the database does not keep up: too many writes wait for it."}
        assert len(refused) >= 19 - 3 - 3, "three wait, and up to three are in the writer's hands"
        for number in range(1, 20):
            kept = await storage.responses.get(ANN, str(number)) is not None
            assert kept == (str(number) not in refused)


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_is_deleted_while_it_is_used_is_noticed_and_made_again(path: Path, is_replaced: bool) -> None:
    async with store(path) as storage:
        await storage.responses.put(ANN, "old", b"1")
        assert await storage.responses.get(ANN, "old") == b"1"
        for file in path.parent.iterdir():
            file.unlink()
        if is_replaced:
            async with store(path) as other:
                await other.responses.put(ANN, "theirs", b"2")
        else:
            with pytest.raises(StorageUnavailable, match="cannot be opened"):
                await storage.responses.get(ANN, "old")
        await storage.responses.put(ANN, "new", b"3")
        assert await storage.responses.get(ANN, "new") == b"3"
        assert await storage.responses.get(ANN, "old") is None
        assert await storage.responses.get(ANN, "theirs") == (b"2" if is_replaced else None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with store(path) as storage:
        assert await storage.responses.get(ANN, "new") == b"3"


# --- cancellation


async def test_a_writer_that_is_cancelled_at_any_point_leaves_all_or_nothing(path: Path) -> None:
    rng = random.Random(7)
    async with store(path) as storage:
        await storage.conversations.create(ANN, "conv_1")
        acknowledged: list[int] = []

        async def append(number: int, begun: anyio.Event) -> None:
            group = [Item(f"{number}_{place}", b"1") for place in range(3)]
            begun.set()
            await storage.conversations.append(ANN, "conv_1", group, turns=1)
            acknowledged.append(number)

        for number in range(150):
            begun = anyio.Event()
            task = asyncio.ensure_future(append(number, begun))
            await begun.wait()
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(rng.random() * 0.0005)
            task.cancel()
            await asyncio.wait([task])
        # behind all that waited
        await storage.conversations.append(ANN, "conv_1", [Item("last", b"1")])
        kept = [item.id for item in (await storage.conversations.page(ANN, "conv_1", limit=1000)).items][:-1]
        groups = [kept[begin : begin + 3] for begin in range(0, len(kept), 3)]
        assert all(group == [f"{group[0].partition('_')[0]}_{place}" for place in range(3)] for group in groups)
        assert {str(number) for number in acknowledged} <= {group[0].partition("_")[0] for group in groups}
        conversation = await storage.conversations.get(ANN, "conv_1")
        assert conversation is not None
        assert conversation.turns == len(groups)


async def test_a_reader_that_is_cancelled_gives_its_connection_back(storage: Storage) -> None:
    await storage.responses.put(ANN, "resp_1", b"1")
    for _ in range(100):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(storage.responses.get, ANN, "resp_1")
                await anyio.lowlevel.checkpoint()
                scope.cancel()
    assert await storage.responses.get(ANN, "resp_1") == b"1"


async def test_closing_finishes_the_writes_that_wait(path: Path) -> None:
    storage = await store(path).__aenter__()
    tasks = [asyncio.ensure_future(storage.responses.put(ANN, str(number), b"1")) for number in range(300)]
    await asyncio.sleep(0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await storage.aclose()
    await asyncio.gather(*tasks)
    async with store(path) as storage:
        assert await storage.responses.get(ANN, "299") == b"1"


async def test_what_one_write_raises_does_not_concern_the_others_of_its_transaction(storage: Storage) -> None:
    outcomes = await asyncio.gather(
        storage.responses.put(ANN, "a", b"1"),
        storage.conversations.append(ANN, "nowhere", [Item("a", b"1")]),
        storage.responses.put(ANN, "b", b"1"),
        return_exceptions=True,
    )
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], NotFound)
    assert await storage.responses.get(ANN, "b") == b"1"


class TestPlans:
    """How the planner reads the tables: no query walks through a whole one, but for the small one
    of the ids of traces.
    """

    @pytest.mark.parametrize(
        "read",
        [
            lambda storage: storage.conversations.get(ANN, "a"),
            lambda storage: storage.conversations.recent(ANN, "eva", 10),
            lambda storage: storage.conversations.item(ANN, "a", "b"),
            lambda storage: storage.responses.get(ANN, "a"),
            lambda storage: storage.profiles.get(ANN, "a"),
            lambda storage: storage.runs.get(ANN, "a"),
            lambda storage: storage.runs.renew("p"),
            lambda storage: storage.usage.query(ANN, start=DAY, end=DAY),
            lambda storage: storage.usage.add(UsageRow(ANN, "", "m", DAY, 1)),
        ],
    )
    async def test_a_query_uses_an_index(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Storage], object]
    ) -> None:
        statements: list[str] = []
        connect = database_module.connected

        def traced(path: str, *, is_uri: bool = False) -> sqlite3.Connection:
            connection = connect(path, is_uri=is_uri)
            connection.set_trace_callback(statements.append)
            return connection

        monkeypatch.setattr("chorus.storage.sqlite.connected", traced)
        async with store(path) as storage:
            statements.clear()
            await read(storage)  # type: ignore[misc]
        asked = [text for text in statements if text.startswith(("SELECT", "UPDATE", "DELETE"))]
        assert asked
        with raw(path) as connection:
            for text in asked:
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
                assert not any(step.startswith("SCAN") and "INDEX" not in step for step in plan), (text, plan)


async def test_a_lock_that_is_held_for_long_delays_one_write_and_no_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECS", 0.3)
    monkeypatch.setattr(guard, "SLOW_SECS", 0.2)
    monkeypatch.setattr(guard, "PROBE_SECS", 1.5)
    async with guarded(store(path)) as storage:
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="held the lock"):
                await storage.responses.put(ANN, "resp_1", b"1")
            began = time.monotonic()
            for number in range(20):
                with pytest.raises(StorageUnavailable, match="does not answer"):
                    await storage.responses.put(ANN, str(number), b"1")
                assert await storage.responses.get(ANN, "resp_1") is None
            assert time.monotonic() - began < 1.5, "20 waits would take 6 s"
            other.execute("ROLLBACK")
        with anyio.fail_after(10):
            while True:
                with suppress(StorageUnavailable):
                    await storage.responses.put(ANN, "resp_1", b"1")
                    break
                await anyio.sleep(0.05)
        assert await storage.responses.get(ANN, "resp_1") == b"1"
