"""A source that is watched by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio

from chorus.discovery.instance import Instance
from chorus.discovery.source import Source, Status

SECS = 15.0


class Answers:
    """What a source has said so far."""

    def __init__(self) -> None:
        self.status = Status("test")
        self.all: list[tuple[Instance, ...]] = []
        self._more = anyio.Event()

    def add(self, instances: tuple[Instance, ...]) -> None:
        self.all.append(instances)
        self._more.set()
        self._more = anyio.Event()

    @property
    def ports(self) -> list[int]:
        """The ports of the last answer."""
        return [each.port for each in self.all[-1]]

    async def until(self, count: int) -> tuple[Instance, ...]:
        """The last answer, when there are `count`."""
        with anyio.fail_after(SECS):
            while len(self.all) < count:
                await self._more.wait()
        return self.all[-1]


@asynccontextmanager
async def watched(source: Source) -> AsyncIterator[Answers]:
    """`source` is watched in this block."""
    answers = Answers()

    async def watch() -> None:
        async with aclosing(source.watch(answers.status)) as found:
            async for instances in found:
                answers.add(instances)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield answers
        group.cancel_scope.cancel()
