"""The mark of the process that wrote last to an SQLite file (M2)."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chorus.errors import StorageUnavailable
from chorus.storage import last_writer
from chorus.storage.last_writer import LastWriter
from chorus.storage.opening import open_storage

pytestmark = pytest.mark.requirement("M2")


class Process:
    """What one process has of the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.last = LastWriter(path)
        self.last.open()

    def write(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.last.claim(self.connection)
        self.connection.execute("INSERT INTO t VALUES (1)")
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()
        self.last.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chorus.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
    return path


@pytest.fixture
def ours(path: Path) -> Iterator[Process]:
    with closing(Process(path)) as process:
        yield process


@pytest.fixture
def theirs(path: Path) -> Iterator[Process]:
    with closing(Process(path)) as process:
        yield process


def test_nothing_is_known_before_the_first_write(ours: Process) -> None:
    assert ours.last.epoch is None


def test_our_own_writes_change_nothing(ours: Process) -> None:
    ours.write()
    before = ours.last.epoch
    assert before is not None
    for _ in range(3):
        ours.write()
    assert ours.last.epoch == before


def test_a_write_of_another_process_is_seen_at_once_and_remembered(ours: Process, theirs: Process) -> None:
    ours.write()
    before = ours.last.epoch
    theirs.write()
    assert ours.last.epoch is None
    assert theirs.last.epoch is not None
    ours.write()
    assert ours.last.epoch not in (None, before)
    assert theirs.last.epoch is None


def test_the_mark_is_there_before_the_commit(ours: Process, theirs: Process) -> None:
    ours.write()
    theirs.connection.execute("BEGIN IMMEDIATE")
    theirs.last.claim(theirs.connection)
    assert ours.last.epoch is None
    theirs.connection.execute("ROLLBACK")
    assert ours.last.epoch is None, "it cannot know that nothing was written"


def test_a_program_that_writes_no_mark_is_seen_at_the_next_look(
    ours: Process, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_writer, "LOOK_SECS", 0.0)
    ours.write()
    before = ours.last.epoch
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("DELETE FROM t")
    ours.write()
    assert ours.last.epoch not in (None, before)


def test_a_file_that_is_opened_anew_is_another_one(ours: Process, path: Path) -> None:
    ours.write()
    before = ours.last.epoch
    ours.last.open()
    ours.write()
    assert ours.last.epoch != before


def test_the_file_is_its_owners(ours: Process, path: Path) -> None:
    ours.write()
    (mark,) = path.parent.glob("*-writer")
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert mark.stat().st_size == 16


async def test_nothing_is_written_where_the_mark_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db") as storage:

        def full(*args: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageUnavailable, match="does not read or write"):
            await storage.responses.put("o", "resp_1", b"1")
        monkeypatch.undo()
        assert await storage.responses.get("o", "resp_1") is None
        await storage.responses.put("o", "resp_1", b"1")
        assert await storage.responses.get("o", "resp_1") == b"1"


async def test_a_store_does_not_open_where_the_mark_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "chorus.db-writer").mkdir()
    with pytest.raises(StorageUnavailable, match="cannot be opened: Is a directory"):
        async with open_storage(f"sqlite:///{tmp_path}/chorus.db"):
            pass
