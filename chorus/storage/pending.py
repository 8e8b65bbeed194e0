"""Work for a thread of the store, and the future of its caller.

Above: `writer` and `readers`, whose threads do the work. Several works that are over together wake
the event loop once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from chorus.storage.database import GroupedWork, Over, Work


class Pending:
    """One work, made in the event loop of its caller. A thread sets `outcome` or `problem`."""

    __slots__ = ("done", "is_single", "loop", "outcome", "over", "problem", "size", "work")

    def __init__(self, work: Work[Any], size: int = 0, *, is_single: bool = False, over: Over | None = None) -> None:
        """`size` is the bytes that `work` holds. `is_single`: it is one statement."""
        self.over = over
        self.work = work
        self.size = size
        self.is_single = is_single
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Any] = self.loop.create_future()
        self.outcome: Any = None
        self.problem: Exception | None = None

    async def result(self, secs: float | None) -> Any:
        """Return what the work returns, and raise what it raises.

        TimeoutError after `secs`. A timer of the event loop costs 2 µs, and a cancel scope 30.
        """
        timer = self.loop.call_later(secs, self._expire) if secs is not None else None
        try:
            return await self.done
        finally:
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        if not self.done.done():
            self.done.set_exception(TimeoutError())

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the work. What it raises is its caller's, such as NotFound; except what the database
        raises, which concerns all works of the transaction."""
        self.outcome = self.problem = None
        try:
            self.outcome = self.work(connection)
        except sqlite3.Error:
            raise
        except Exception as problem:
            self.problem = problem

    def fail(self, problem: Exception) -> None:
        """Let the caller see `problem`."""
        self.outcome, self.problem = None, problem

    @property
    def may_wait(self) -> bool:
        """Whether it may wait for other work."""
        return isinstance(self.work, GroupedWork) and self.work.may_wait

    def settle(self) -> None:
        """Wake the caller. Runs in its event loop."""
        if self.over is not None:
            self.over(self.outcome if self.problem is None else None)
        if self.done.done():  # its caller does not wait any more
            return
        if self.problem is not None:
            self.done.set_exception(self.problem)
        else:
            self.done.set_result(self.outcome)


def run_all(connection: sqlite3.Connection, works: Iterable[Pending]) -> bool:
    """Do `works` in their order; those of one kind that follow each other together, where they can
    be. False where one has raised an error of its own, after which nothing more was done; what it
    has changed is to be undone."""
    for kind, alike in groupby(works, key=_kind):
        group = [*alike]
        if kind is None or len(group) == 1 or not _run_together(connection, kind, group):
            for work in group:
                work.run(connection)
                if work.problem is not None:
                    return False
    return True


def _kind(pending: Pending) -> type[GroupedWork[Any]] | None:
    return type(pending.work) if isinstance(pending.work, GroupedWork) else None


def _run_together(connection: sqlite3.Connection, kind: type[GroupedWork[Any]], group: Sequence[Pending]) -> bool:
    outcomes = kind.together(connection, [pending.work for pending in group if isinstance(pending.work, GroupedWork)])
    if outcomes is None:
        return False
    for pending, outcome in zip(group, outcomes, strict=True):
        is_refused = isinstance(outcome, Exception)
        pending.outcome, pending.problem = (None, outcome) if is_refused else (outcome, None)
    return True


def settle_all(works: Iterable[Pending]) -> None:
    """Wake the callers of `works` in their event loops. Runs in any thread."""
    of_loop: dict[asyncio.AbstractEventLoop, list[Pending]] = {}
    for work in works:
        of_loop.setdefault(work.loop, []).append(work)
    for loop, pending in of_loop.items():
        with suppress(RuntimeError):  # its event loop is closed, and nobody waits
            loop.call_soon_threadsafe(_settle, pending)


def _settle(works: Iterable[Pending]) -> None:
    for work in works:
        work.settle()
