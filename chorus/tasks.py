"""Work of the server rather than of one caller: shared calls, and endless loops.

Above: `service` opens it while the server runs. Nothing that goes wrong in such work ends the
others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVarTuple, Unpack

import anyio
import structlog
from anyio.abc import TaskGroup

Ts = TypeVarTuple("Ts")

_log = structlog.get_logger("chorus.tasks")


@contextmanager
def surviving(what: str) -> Iterator[None]:
    """Run one round of an endless loop; log an error as `what` and go on.

    A cancellation passes through.
    """
    try:
        yield
    except Exception:
        _log.exception(what)


@asynccontextmanager
async def cancelled_at_end() -> AsyncIterator[TaskGroup]:
    """Yield a task group. When the block is left, its tasks are cancelled and waited for."""
    async with anyio.create_task_group() as group:
        try:
            yield group
        finally:
            group.cancel_scope.cancel()


class ServerTasks:
    """The tasks of one server. Until it is opened, and after, none can be started."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None

    @property
    def is_open(self) -> bool:
        """Whether tasks can be started."""
        return self._group is not None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let tasks be started in this block; leaving it cancels those that go on."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None
                group.cancel_scope.cancel()

    def start(self, work: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts) -> anyio.CancelScope:
        """Begin `work(*args)`.

        Returns at once, with the scope that it runs in. What it raises is logged, and ends nothing
        but itself.
        """
        assert self._group is not None, "the server has not been started"
        scope = anyio.CancelScope()
        self._group.start_soon(_guarded, scope, work, args)
        return scope


async def _guarded(scope: anyio.CancelScope, work: Callable[[Unpack[Ts]], Awaitable[None]], args: tuple[*Ts]) -> None:
    try:
        with scope:
            await work(*args)
    except Exception:  # the log has all of it; the group, which serves everybody, goes on
        _log.exception("a task of the server failed")
