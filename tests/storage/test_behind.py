"""Writes that nobody waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from chorus.errors import InvalidRequest, StorageUnavailable
from chorus.storage import behind
from chorus.storage.behind import Key, WriteBehind

pytestmark = pytest.mark.requirement("M2")
A: Key = ("responses", "ann", "a")
B: Key = ("responses", "ann", "b")


class Slow:
    """A store that writes when it is let."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.may_write = anyio.Event()

    def write(self, text: str) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            await self.may_write.wait()
            self.written.append(text)

        return write


async def test_writes_are_done_in_their_order_and_a_reader_waits_for_those_of_its_record() -> None:
    slow, writes = Slow(), WriteBehind()
    async with writes.open(), anyio.create_task_group() as group:
        for text, key in (("a1", A), ("b1", B), ("a2", A)):
            writes.add(key, 1, slow.write(text))
        seen: list[str] = []

        async def read() -> None:
            await writes.settled(A)
            seen.extend(slow.written)

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        slow.may_write.set()
        await writes.settled(A)
        await writes.settled(B)
        await anyio.wait_all_tasks_blocked()
        assert seen == ["a1", "b1", "a2"]


async def test_leaving_finishes_what_waits_even_when_it_is_cancelled() -> None:
    slow, writes = Slow(), WriteBehind()
    with anyio.CancelScope() as scope:
        async with writes.open():
            for number in range(5):
                writes.add(A, 1, slow.write(str(number)))
            await anyio.wait_all_tasks_blocked()
            slow.may_write.set()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert slow.written == ["0", "1", "2", "3", "4"]
    await writes.settled(A)


async def test_a_write_that_fails_does_not_end_the_others() -> None:
    counted: list[str] = []
    writes, written = WriteBehind(counted.append), []

    async def refused() -> None:
        raise InvalidRequest("too large")

    async def broken() -> None:
        raise RuntimeError("a bug")

    async def good() -> None:
        written.append("good")

    async with writes.open():
        added = [writes.add(A, 1, write) for write in (refused, broken, good)]
        await writes.settled(A)
        assert [await writes.kept(write) for write in added] == [False, False, True]
    assert written == ["good"]
    assert counted == ["responses", "responses"]


async def away() -> None:
    raise StorageUnavailable("The store is away.")


async def test_writes_wait_for_a_store_that_is_away_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_RETRY_SECS", 0.01)
    slow, writes, failures = Slow(), WriteBehind(), []
    slow.may_write.set()

    async def a() -> None:
        failures.append("away")
        if len(failures) < 5:
            await away()
        await slow.write("a")()

    late: list[str] = []
    async with writes.open():
        first = writes.add(A, 1, a, lambda: late.append("a"))
        assert not await writes.kept(first)
        assert writes.is_away
        second = writes.add(B, 1, slow.write("b"), lambda: late.append("b"))
        assert not await writes.kept(second), "nobody waits while it is known to be away"
        for key in (A, B):
            with pytest.raises(StorageUnavailable, match="not written yet"):
                await writes.settled(key)
        await writes.settled(("responses", "ann", "another"))
        with anyio.fail_after(5):
            assert second is not None
            while not second.is_kept:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert not writes.is_away
        await writes.settled(A)
    assert (slow.written, late, len(failures)) == (["a", "b"], ["a", "b"], 5)


async def test_a_store_that_stays_away_costs_bounded_memory_and_each_loss_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(behind, "_RETRY_SECS", 0.01)
    monkeypatch.setattr(behind, "KEEP_SECS", 0.05)
    monkeypatch.setattr(behind, "MAX_WAITING", 3)
    counted: list[str] = []
    writes = WriteBehind(counted.append)
    async with writes.open():
        added = [writes.add(A, 1, away) for _ in range(5)]
        assert added[3:] == [None, None]
        with anyio.fail_after(5):
            while writes.is_away or len(counted) < 5:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert counted == ["responses"] * 5
        writes.add(A, 1, away)
    assert len(counted) == 6, "a server that stops tries once more"


async def test_a_write_that_is_kept_soon_is_waited_for_and_one_that_takes_long_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(behind, "ACKNOWLEDGE_SECS", 0.02)
    slow, writes = Slow(), WriteBehind()
    async with writes.open():
        write = writes.add(A, 1, slow.write("a"))
        assert not await writes.kept(write)
        slow.may_write.set()
        assert await writes.kept(write)


async def test_a_reader_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_SETTLE_SECS", 0.02)
    slow, writes = Slow(), WriteBehind()
    async with writes.open():
        writes.add(A, 1, slow.write("a"))
        with pytest.raises(StorageUnavailable):
            await writes.settled(A)
        slow.may_write.set()


async def test_what_is_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "MAX_WAITING", 3)
    monkeypatch.setattr(behind, "MAX_WAITING_BYTES", 10)
    slow, writes = Slow(), WriteBehind()
    slow.may_write.set()
    writes.add(A, 1, slow.write("not open"))
    async with writes.open():
        writes.add(A, 8, slow.write("a"))
        writes.add(A, 8, slow.write("too large"))
        for number in range(3):
            writes.add(A, 0, slow.write(str(number)))
    assert slow.written == ["a", "0", "1"]


async def test_a_write_that_hangs_ends_by_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_WRITE_SECS", 0.01)
    slow, writes = Slow(), WriteBehind()
    async with writes.open():
        writes.add(A, 1, slow.write("never"))
        await writes.settled(A)
    assert slow.written == []


async def test_who_claims_a_write_does_it_and_a_reader_waits_for_it() -> None:
    slow, writes = Slow(), WriteBehind()
    async with writes.open(), anyio.create_task_group() as group:
        write = writes.add(A, 1, slow.write("a"), claims=True)
        await anyio.wait_all_tasks_blocked()
        seen: list[str] = []

        async def read() -> None:
            await writes.settled(A)
            seen.extend(slow.written)

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        slow.may_write.set()
        assert await writes.kept(write)
        await anyio.wait_all_tasks_blocked()
        assert seen == ["a"]


async def test_claimed_writes_are_done_at_the_same_time() -> None:
    writes, running = WriteBehind(), 0
    together = anyio.Event()

    async def write() -> None:
        nonlocal running
        running += 1
        if running == 2:
            together.set()
        await together.wait()

    async with writes.open():
        added = [writes.add(key, 1, write, claims=True) for key in (A, B)]
        async with anyio.create_task_group() as group:
            for one in added:
                group.start_soon(writes.kept, one)
        assert [one.is_kept for one in added if one is not None] == [True, True]


async def test_a_claimed_write_that_is_released_or_takes_long_or_is_cancelled_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(behind, "ACKNOWLEDGE_SECS", 0.02)
    slow, writes = Slow(), WriteBehind()
    keys: list[Key] = [("responses", "ann", name) for name in "abc"]
    async with writes.open():
        released, late, cancelled = (writes.add(key, 1, slow.write(key[2]), claims=True) for key in keys)
        writes.release(released)
        assert not await writes.kept(late)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await writes.kept(cancelled)
        for write in (released, late, cancelled):
            writes.release(write)
        slow.may_write.set()
        for key in keys:
            await writes.settled(key)
        assert [await writes.kept(write) for write in (released, late, cancelled)] == [True, True, True]
    assert sorted(slow.written) == ["a", "b", "c"]


async def test_a_claimed_write_waits_for_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_RETRY_SECS", 0.01)
    writes, tries, late = WriteBehind(), [], []

    async def write() -> None:
        tries.append("a")
        if len(tries) < 4:
            await away()

    async with writes.open():
        added = writes.add(A, 1, write, lambda: late.append("a"), claims=True)
        assert not await writes.kept(added)
        assert writes.is_away
        other = writes.add(B, 1, write, claims=True)
        assert not await writes.kept(other), "nobody waits while it is known to be away"
        writes.release(other)
        with anyio.fail_after(5):
            assert other is not None
            while not other.is_kept:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert not writes.is_away
    assert (len(tries), late) == (5, ["a"])


async def test_a_second_write_of_a_record_waits_for_the_first_that_is_claimed() -> None:
    slow, writes = Slow(), WriteBehind()
    async with writes.open():
        first = writes.add(A, 1, slow.write("a1"), claims=True)
        second = writes.add(A, 1, slow.write("a2"), claims=True)
        slow.may_write.set()
        assert [await writes.kept(first), await writes.kept(second)] == [True, True]
        await writes.settled(A)


async def test_a_claimed_write_that_is_released_after_the_end_is_counted_as_lost() -> None:
    counted: list[str] = []
    slow, writes = Slow(), WriteBehind(counted.append)
    async with writes.open():
        write = writes.add(A, 1, slow.write("a"), claims=True)
    writes.release(write)
    await writes.settled(A)
    assert (slow.written, counted) == ([], ["responses"])
