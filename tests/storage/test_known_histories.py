"""Histories that a process knows without reading them: never older than what is in the file
(M2).
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chorus.errors import NotFound
from chorus.storage import history_cache, last_writer
from chorus.storage.base import Storage
from chorus.storage.history_cache import HistoryCache
from chorus.storage.opening import open_storage
from chorus.storage.readers import Readers
from chorus.storage.records import Bounds, Conversation, History, Item, Retention, merging

pytestmark = pytest.mark.requirement("M2")
ANN, BEN = "1a2b3c4d", "5e6f7a8b"


def items(*ids: str) -> list[Item]:
    return [Item(id, f'{{"id":"{id}"}}'.encode()) for id in ids]


def encoded(*ids: str) -> bytes:
    return b"[%b]" % b",".join(item.value for item in items(*ids))


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db") as opened:
        await opened.responses.put(ANN, "resp_1", b"1")  # it is the last that wrote
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is read from files."""
    made: list[object] = []
    read = Readers.read

    async def counted(readers: Readers, work: object, *, is_single: bool = False) -> object:
        made.append(work)
        return await read(readers, work, is_single=is_single)  # type: ignore[arg-type]

    monkeypatch.setattr(Readers, "read", counted)
    return made


async def history(storage: Storage, id: str = "conv_1", *, owner: str = ANN, limit: int = 200) -> bytes | None:
    found = await storage.conversations.history(owner, id, limit)
    return found.items if found is not None else None


async def test_a_conversation_that_goes_on_is_not_read(storage: Storage, reads: list[object]) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a"))
    for name in "bc":
        after = await storage.conversations.append(ANN, "conv_1", items(name), turns=1, title="T")
    assert await storage.conversations.history(ANN, "conv_1", 200) == History(after, encoded("a", "b", "c"))
    assert not reads


async def test_one_that_was_read_once_is_not_read_again(tmp_path: Path, reads: list[object]) -> None:
    for is_new in (True, False):
        async with open_storage(f"sqlite:///{tmp_path}/chorus.db") as storage:
            await storage.responses.put(ANN, "resp_1", b"1")
            if is_new:
                await storage.conversations.create(ANN, "conv_1", items=items("a"))
            for _ in range(3):
                assert await history(storage) == encoded("a")
            await storage.conversations.append(ANN, "conv_1", items("b"))
            assert await history(storage) == encoded("a", "b")
            await storage.conversations.delete_item(ANN, "conv_1", "b")
    assert len(reads) == 1


async def test_a_limit_holds(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a", "b", "c"))
    assert await history(storage, limit=2) == encoded("b", "c")
    assert await history(storage, limit=3) == encoded("a", "b", "c")


async def test_what_is_known_is_its_owners(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a"))
    assert await history(storage, owner=BEN) is None
    with pytest.raises(NotFound):
        await storage.conversations.append(BEN, "conv_1", items("b"))
    assert await history(storage) == encoded("a")


async def test_every_change_is_seen(storage: Storage) -> None:
    conversations = storage.conversations
    await conversations.create(ANN, "conv_1", items=items("a", "b", "c"))
    await conversations.append(ANN, "conv_1", [Item("b", b'"new"')])
    assert await history(storage) == b'[{"id":"a"},"new",{"id":"c"}]'
    await conversations.delete_item(ANN, "conv_1", "b")
    assert await history(storage) == encoded("a", "c")
    changed = await conversations.update(ANN, "conv_1", merging({"a": "b"}))
    assert await conversations.history(ANN, "conv_1", 9) == History(changed, encoded("a", "c"))
    assert await conversations.delete(ANN, "conv_1")
    assert await history(storage) is None
    await conversations.create(ANN, "conv_1", items=items("d", "d"))
    assert await history(storage) == encoded("d")


async def test_too_old_ones_are_not_there(tmp_path: Path) -> None:
    retention = Retention(conversations=Bounds(max_age_secs=0.1))
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db", retention) as storage:
        await storage.responses.put(ANN, "resp_1", b"1")
        await storage.conversations.create(ANN, "conv_1", items=items("a"))
        with anyio.fail_after(10):
            while await history(storage) is not None:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_those_that_make_room_are_not_there(tmp_path: Path) -> None:
    retention = Retention(conversations=Bounds(max_records=1))
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db", retention) as storage:
        for id in ("conv_1", "conv_2"):
            await storage.conversations.create(ANN, id, items=items("a"))
        assert await history(storage, "conv_1") is None
        assert await history(storage, "conv_2") == encoded("a")


async def test_what_a_shell_has_deleted_is_gone_after_the_next_look(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_writer, "LOOK_SECS", 0.0)
    await storage.conversations.create(ANN, "conv_1", items=items("a"))
    with closing(sqlite3.connect(tmp_path / "chorus.db", isolation_level=None)) as shell:
        shell.execute("DELETE FROM conversations")
    await storage.responses.put(ANN, "resp_1", b"1")
    assert await history(storage) is None


async def test_a_file_that_was_replaced_is_not_known(storage: Storage, tmp_path: Path) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a"))
    for file in [*tmp_path.iterdir()]:  # noqa: ASYNC240
        file.unlink()
    async with open_storage(f"sqlite:///{tmp_path}/chorus.db") as other:
        await other.conversations.create(ANN, "conv_1", items=items("b"))
        assert await history(storage) == encoded("b")


async def test_appends_whose_callers_leave_are_seen_when_they_are_done(storage: Storage) -> None:
    rng = random.Random(3)
    await storage.conversations.create(ANN, "conv_1")
    for number in range(100):
        append = storage.conversations.append(ANN, "conv_1", items(str(number)), turns=number % 2)
        task = asyncio.ensure_future(append)
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(rng.random() * 0.0005)
        task.cancel()
        await history(storage)
        await asyncio.wait([task])
    await storage.responses.put(ANN, "last", b"1")  # behind all of them
    page = await storage.conversations.page(ANN, "conv_1", limit=1000)
    assert await history(storage) == encoded(*(item.id for item in page.items))


LETTERS = st.sampled_from("abcdef")
IDS = st.sampled_from(["conv_1", "conv_2", "conv_3"])
APPEND = st.tuples(IDS, st.lists(LETTERS, min_size=1, max_size=3), st.integers(0, 1))
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.one_of(
            st.tuples(st.just("appends"), st.lists(APPEND, min_size=1, max_size=6)),
            st.tuples(st.just("delete"), IDS),
            st.tuples(st.just("delete_item"), IDS, LETTERS),
            st.tuples(st.just("create"), IDS),
        ),
    ),
    max_size=12,
)


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_two_processes_see_what_plain_lists_would_have(
    steps: list[tuple[int, tuple[object, ...]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    anyio.run(compare_with_lists, f"sqlite:///{tmp_path_factory.mktemp('store')}/chorus.db", steps)


async def compare_with_lists(url: str, steps: list[tuple[int, tuple[object, ...]]]) -> None:
    """Two stores are two processes.

    Appends begin together: the order is that of their beginning.
    """
    model: dict[str, list[str]] = {"conv_1": []}
    turns = {"conv_1": 0}
    async with open_storage(url) as one, open_storage(url) as other:
        await one.conversations.create(ANN, "conv_1")
        for place, (kind, *values) in steps:
            conversations = (one, other)[place].conversations
            if kind == "appends":
                await append_all((one, other)[place], values[0], model, turns)  # type: ignore[arg-type]
            elif kind == "delete":
                assert await conversations.delete(ANN, str(values[0])) == (model.pop(str(values[0]), None) is not None)
            elif kind == "delete_item":
                id, letter = map(str, values)
                if letter in model.get(id, ()):
                    await conversations.delete_item(ANN, id, letter)
                    model[id].remove(letter)
            elif values[0] not in model:
                await conversations.create(ANN, str(values[0]))
                model[str(values[0])], turns[str(values[0])] = [], 0
            for storage in (one, other):
                for id in ("conv_1", "conv_2", "conv_3"):
                    found = await storage.conversations.history(ANN, id, 200)
                    assert (found is None) == (id not in model)
                    if found is not None:
                        assert found.items == encoded(*model[id])
                        assert found.conversation.turns == turns[id]
                        assert found.conversation == await storage.conversations.get(ANN, id)


async def append_all(
    storage: Storage, appends: list[tuple[str, list[str], int]], model: dict[str, list[str]], turns: dict[str, int]
) -> None:
    outcomes = await asyncio.gather(
        *(storage.conversations.append(ANN, id, items(*letters), turns=count) for id, letters, count in appends),
        return_exceptions=True,
    )
    for (id, letters, count), outcome in zip(appends, outcomes, strict=True):
        if id not in model:
            assert isinstance(outcome, NotFound)
            continue
        turns[id] += 0 if letters[-1] in model[id] else count
        model[id] += [letter for letter in dict.fromkeys(letters) if letter not in model[id]]
        assert isinstance(outcome, Conversation)
        assert outcome.turns == turns[id]


class TestCache:
    """The cache by itself."""

    def made(self, id: str, size: int = 0) -> tuple[Conversation, list[Item]]:
        return Conversation(ANN, id, "", 1.0, 1.0, "", 0, {}), [Item("a", b'"%b"' % (b"x" * size))]

    def test_the_oldest_make_room(self) -> None:
        cache = HistoryCache(lambda: 1, max_bytes=10_000)
        for number in range(5):
            cache.writing(str(number))
            cache.has_begun(1, *self.made(str(number), 2000))
            assert cache.get(ANN, "0", 9) is not None or number > 3
        assert [cache.get(ANN, str(number), 9) is not None for number in range(5)] == [True, False, False, True, True]

    def test_one_that_is_too_long_is_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history_cache, "MAX_RECORD_BYTES", 5000)
        cache = HistoryCache(lambda: 1)
        cache.writing("a")
        cache.has_begun(1, *self.made("a", 3000))
        assert cache.get(ANN, "a", 9) is not None
        cache.writing("a")
        cache.has_appended(*self.made("a", 3000))
        assert cache.get(ANN, "a", 9) is None

    def test_a_read_during_a_write_is_not_kept(self) -> None:
        conversation, _ = self.made("a")
        cache = HistoryCache(lambda: 1)
        history = History(conversation, b"[]")
        ticket = cache.reading("a")
        cache.writing("a")
        cache.has_read(ticket, history)
        assert cache.get(ANN, "a", 9) is None
        cache.has_read(cache.reading("a"), history)
        assert cache.get(ANN, "a", 9) is None
        cache.has_written("a")
        cache.has_read(cache.reading("a"), history)
        assert cache.get(ANN, "a", 9) == history

    def test_a_read_during_which_another_process_writes_is_not_shown(self) -> None:
        epoch = [1]
        conversation, _ = self.made("a")
        cache = HistoryCache(lambda: epoch[0])
        ticket = cache.reading("a")
        epoch[0] = 2
        cache.has_read(ticket, History(conversation, b"[]"))
        assert cache.get(ANN, "a", 9) is None
