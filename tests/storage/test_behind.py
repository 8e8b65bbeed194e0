"""Writes that nobody waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from chorus.errors import StorageUnavailable
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
    writes, written = WriteBehind(), []

    async def away() -> None:
        raise StorageUnavailable("away")

    async def broken() -> None:
        raise RuntimeError("a bug")

    async def good() -> None:
        written.append("good")

    async with writes.open():
        for write in (away, broken, good):
            writes.add(A, 1, write)
        await writes.settled(A)
    assert written == ["good"]


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
