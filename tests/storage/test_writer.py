"""The thread that writes an SQLite file: which writes it does together, and when (M2)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from chorus.errors import InvalidRequest, NotFound, StorageUnavailable
from chorus.storage import writer as writer_module
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import Bounds, Conversation, Item, Retention

pytestmark = pytest.mark.requirement("M2")
ANN = "1a2b3c4d"
LONG = 60.0


def exchange(number: int) -> list[Item]:
    return [Item(f"{number}_{place}", b"1") for place in range(2)]


def append(storage: Storage, id: str, number: int, *, turns: int = 1) -> asyncio.Future[Conversation]:
    return asyncio.ensure_future(storage.conversations.append(ANN, id, exchange(number), turns=turns))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is executed."""
    made: list[str] = []
    connect = sqlite3.connect

    def traced(*args: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(made.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return made


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db") as opened:
        for number in range(8):
            await opened.conversations.create(ANN, f"conv_{number}")
        yield opened


@pytest.fixture
async def busy(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A store that gathers for long after its last write."""
    monkeypatch.setattr(writer_module, "GATHER_SECS", LONG)
    await storage.responses.put(ANN, "resp_1", b"1")
    return storage


async def test_exchanges_that_end_at_once_share_their_statements(statements: list[str], busy: Storage) -> None:
    statements.clear()
    appends = [append(busy, f"conv_{number}", number) for number in range(8)]
    await asyncio.sleep(0)
    await busy.responses.put(ANN, "resp_2", b"1")
    after = await asyncio.gather(*appends)
    assert [each.turns for each in after] == [1] * 8
    # the steps of a trigger have the text of their statement
    changes = {text for text in statements if "conversations" in text or "items" in text}
    assert len(changes) == 3
    assert statements.count("COMMIT") == 1
    assert [each.id for each in await busy.conversations.recent(ANN, "", 3)] == ["conv_7", "conv_6", "conv_5"]


async def test_exchanges_wait_for_others_on_a_busy_database_only(busy: Storage) -> None:
    waiting = append(busy, "conv_1", 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    await busy.conversations.append(ANN, "conv_1", exchange(2))  # no exchange: it does not wait
    assert waiting.done()
    page = await busy.conversations.page(ANN, "conv_1")
    assert [item.id for item in page.items] == ["1_0", "1_1", "2_0", "2_1"]


async def test_an_exchange_that_follows_no_write_does_not_wait(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_SECS", 0.1)
    await storage.responses.put(ANN, "resp_1", b"1")
    await asyncio.sleep(0.2)
    monkeypatch.setattr(writer_module, "GATHER_SECS", LONG)
    with anyio.fail_after(10):
        await append(storage, "conv_1", 1)


async def test_what_is_gathered_is_written_when_the_store_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chorus.db"
    async with open_storage(f"sqlite:///{path}") as storage:
        await storage.conversations.create(ANN, "conv_1")
        monkeypatch.setattr(writer_module, "GATHER_SECS", LONG)
        await storage.responses.put(ANN, "resp_1", b"1")
        waiting = append(storage, "conv_1", 1)
        await asyncio.sleep(0)
    assert (await waiting).turns == 1
    async with open_storage(f"sqlite:///{path}") as storage:
        assert len((await storage.conversations.page(ANN, "conv_1")).items) == 2


async def test_each_of_those_that_are_written_together_has_its_own_outcome(busy: Storage) -> None:
    waiting = [
        append(busy, "conv_1", 1),
        append(busy, "conv_none", 2),
        append(busy, "conv_2", 3),
        append(busy, "conv_2", 3),  # repeated
        append(busy, "conv_1", 4),
    ]
    await asyncio.sleep(0)
    await busy.responses.put(ANN, "resp_2", b"1")
    one, none, two, again, three = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(none, NotFound)
    assert [each.turns for each in (one, two, again, three) if isinstance(each, Conversation)] == [1, 1, 1, 2]
    for id, wanted in (("conv_1", ["1_0", "1_1", "4_0", "4_1"]), ("conv_2", ["3_0", "3_1"])):
        assert [item.id for item in (await busy.conversations.page(ANN, id)).items] == wanted


async def test_one_that_has_no_room_does_not_concern_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention = Retention(conversations=Bounds(max_bytes=6000))
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db", retention) as storage:
        for id in ("conv_1", "conv_2"):
            await storage.conversations.create(ANN, id)
        monkeypatch.setattr(writer_module, "GATHER_SECS", LONG)
        await storage.responses.put(ANN, "resp_1", b"1")
        large = storage.conversations.append(ANN, "conv_1", [Item("a", b"x" * 7000)], turns=1)
        waiting = [asyncio.ensure_future(large), append(storage, "conv_2", 1)]
        await asyncio.sleep(0)
        await storage.responses.put(ANN, "resp_2", b"1")
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in outcomes] == [InvalidRequest, Conversation]
        assert (await storage.conversations.page(ANN, "conv_1")).items == []


async def test_one_that_the_database_refuses_does_not_concern_the_others(busy: Storage, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "chorus.db", isolation_level=None)) as shell:
        shell.execute(
            "CREATE TRIGGER refusing BEFORE INSERT ON items WHEN NEW.id = '2_0' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    waiting = [append(busy, f"conv_{number}", number) for number in range(4)]
    await asyncio.sleep(0)
    await busy.responses.put(ANN, "resp_2", b"1")
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [Conversation, Conversation, StorageUnavailable, Conversation]
    assert (await busy.conversations.page(ANN, "conv_2")).items == []
    for number in (0, 1, 3):
        history = await busy.conversations.history(ANN, f"conv_{number}", 9)
        assert history is not None
        assert history.items == b"[1,1]"
