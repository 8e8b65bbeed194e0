"""An SQLite file of another schema: an older one is brought to the newest, a newer one is left as
it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chorus.errors import StorageUnavailable
from chorus.storage import migrations
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import Item

pytestmark = pytest.mark.requirement("M2")
ANN = "1a2b3c4d"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "chorus.db"


def store(path: Path) -> Storage:
    return open_storage(f"sqlite:///{path}")


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None, timeout=10))


async def test_a_file_of_an_older_schema_is_brought_to_the_newest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store(path) as storage:
        await storage.responses.put(ANN, "resp_1", b"1")
    step = ("ALTER TABLE responses ADD COLUMN note TEXT NOT NULL DEFAULT ''", "UPDATE responses SET note = 'new'")
    monkeypatch.setattr(migrations.migrate, "__defaults__", ((*migrations.STEPS, step),))
    async with store(path) as storage:
        assert await storage.responses.get(ANN, "resp_1") == b"1"
    with raw(path) as connection:
        assert connection.execute("SELECT note FROM responses").fetchall() == [("new",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.STEPS) + 1,)


@pytest.mark.requirement("M7")
async def test_a_file_of_before_batches_gets_files_and_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations.migrate, "__defaults__", (migrations.STEPS[:1],))
        async with store(path) as storage:
            await storage.responses.put(ANN, "resp_1", b"1")
    async with store(path) as storage:
        assert await storage.responses.get(ANN, "resp_1") == b"1"
        await storage.files.create(ANN, "file-1", "batch", "a.jsonl")
        await storage.files.add(ANN, "file-1", 0, b"{}")
        assert (await storage.files.finish(ANN, "file-1", 60.0)).size == 2
        assert await storage.batches.claim("p1") is None
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.STEPS),)


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store(path):
        pass
    broken = ("CREATE TABLE half (a)", "INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patch:
        patch.setattr(migrations.migrate, "__defaults__", ((*migrations.STEPS, broken),))
        with pytest.raises(StorageUnavailable):
            await store(path).__aenter__()
    with raw(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    async with store(path) as storage:
        await storage.responses.put(ANN, "resp_1", b"1")


async def test_a_file_of_a_newer_schema_is_refused_and_stays_as_it_is(path: Path) -> None:
    async with store(path):
        pass
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageUnavailable, match=r"schema 99.*newer version"):
        await store(path).__aenter__()
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


async def test_another_programs_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with raw(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StorageUnavailable, match="another program"):
        await store(path).__aenter__()


async def test_a_file_of_the_first_schema_is_brought_to_the_newest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations.migrate, "__defaults__", (migrations.STEPS[:1],))
        async with store(path) as storage:
            await storage.conversations.create(ANN, "conv_1", items=[Item("a", b"1")])
            with pytest.raises(StorageUnavailable):
                await storage.affinities.put(ANN, "s", "m", "r")
    async with store(path) as storage:
        assert (await storage.conversations.page(ANN, "conv_1")).items == [Item("a", b"1")]
        await storage.affinities.put(ANN, "s", "m", "r")
        assert await storage.affinities.get(ANN, "s", "m") == "r"
