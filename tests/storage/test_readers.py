"""The threads that read an SQLite file: bounded, and free of what their callers do (M2)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator

import anyio
import pytest

from chorus.errors import NotFound, StorageUnavailable
from chorus.storage import readers as readers_module
from chorus.storage.readers import Readers

pytestmark = pytest.mark.requirement("M2")


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


@pytest.fixture
def readers() -> Iterator[Readers]:
    made = Readers(connect)
    yield made
    made.close(5)


async def test_many_read_at_once(readers: Readers) -> None:
    found: list[int] = []

    async def read(number: int) -> None:
        found.append(await readers.read(lambda connection: connection.execute("SELECT ?", (number,)).fetchone()[0]))

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(read, number)
    assert sorted(found) == [*range(50)]


async def test_an_error_of_the_database_makes_a_new_connection(readers: Readers) -> None:
    for _ in range(8):
        with pytest.raises(StorageUnavailable):
            await readers.read(lambda connection: connection.execute("SELECT * FROM nothing"))
        assert await readers.read(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)


async def test_reads_that_wait_share_a_transaction_and_each_fails_for_itself(readers: Readers) -> None:
    may_go, outcomes = threading.Event(), {}

    async def read(name: str, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            outcomes[name] = await readers.read(work)
        except (NotFound, StorageUnavailable) as problem:
            outcomes[name] = type(problem)

    def refused(connection: sqlite3.Connection) -> None:
        raise NotFound("nothing")

    async with anyio.create_task_group() as group:
        for number in range(4):  # every thread is busy
            group.start_soon(read, f"busy {number}", lambda connection: may_go.wait(10))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(read, "broken", lambda connection: connection.execute("SELECT * FROM nothing"))
        group.start_soon(read, "refused", refused)
        group.start_soon(read, "good", lambda connection: connection.execute("SELECT 1").fetchone())
        await anyio.wait_all_tasks_blocked()
        may_go.set()
    assert (outcomes["broken"], outcomes["refused"], outcomes["good"]) == (StorageUnavailable, NotFound, (1,))


async def test_a_read_that_takes_too_long_ends(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "READ_SECS", 0.02)
    may_go = threading.Event()
    with pytest.raises(TimeoutError):
        await readers.read(lambda connection: may_go.wait(10))
    may_go.set()
    monkeypatch.undo()
    assert await readers.read(lambda connection: 7) == 7


async def test_another_file_is_another_connection() -> None:
    files, made = [1], [0]

    def count() -> sqlite3.Connection:
        made[0] += 1
        return connect()

    readers = Readers(count, lambda: files[0])
    for _ in range(20):
        await readers.read(lambda connection: None)
    before = made[0]
    files[0] = 2
    for _ in range(20):
        await readers.read(lambda connection: None)
    readers.close(5)
    assert 1 <= before <= 4
    assert before < made[0] <= before + 4


async def test_what_the_work_raises_reaches_its_caller(readers: Readers) -> None:
    def work(connection: sqlite3.Connection) -> None:
        raise NotFound("nothing")

    with pytest.raises(NotFound):
        await readers.read(work)


async def test_a_disk_that_hangs_is_a_sentence_and_recovers(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "_MAX_WAITING", 6)
    answers = threading.Event()
    try:
        for _ in range(6):
            with anyio.move_on_after(0.02) as scope:
                await readers.read(lambda connection: answers.wait(20))
            assert scope.cancelled_caught
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await readers.read(lambda connection: None)
    finally:
        answers.set()
    with anyio.fail_after(10):
        while True:
            try:
                assert await readers.read(lambda connection: 7) == 7
                return
            except StorageUnavailable:
                await anyio.sleep(0.01)


async def test_nothing_is_read_after_the_end(readers: Readers) -> None:
    readers.close(5)
    with pytest.raises(StorageUnavailable, match="closed"):
        await readers.read(lambda connection: 7)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chorus-storage-reader")]
