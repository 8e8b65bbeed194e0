"""Items get their work in batches where they come quickly, and none waits long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio

from chorus.batched import Batched


class Batches:
    """Takes batches down."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self.batched: Batched[int] = Batched(self._take)
        self._news = asyncio.Event()

    def _take(self, items: Sequence[int]) -> None:
        self.taken.append([*items])
        self._news.set()

    async def until(self, count: int) -> None:
        """Wait until `count` batches were taken."""
        with anyio.fail_after(5):
            while len(self.taken) < count:
                self._news.clear()
                await self._news.wait()


async def test_the_first_item_does_not_wait() -> None:
    batches = Batches()
    batches.batched.add(1)
    assert batches.taken == [[1]]


async def test_items_that_follow_at_once_come_together_and_in_order() -> None:
    batches = Batches()
    for number in range(40):
        batches.batched.add(number)
    assert [len(batch) for batch in batches.taken] == [1, 16, 16]
    await batches.until(4)  # by its timer
    assert [number for batch in batches.taken for number in batch] == [*range(40)]


async def test_a_flush_leaves_nothing_waiting() -> None:
    batches = Batches()
    for number in range(3):
        batches.batched.add(number)
    batches.batched.flush()
    assert batches.taken == [[0], [1, 2]]
    batches.batched.flush()
    assert batches.taken == [[0], [1, 2]]
