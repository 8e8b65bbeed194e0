"""Writes that begin in an observer of a journal, which must not wait.

Above: the observers that keep something at the end of a run. Below: any store. While the store is
away the writes wait, for a minute at most; what is lost is counted and logged. The server finishes
the writes that wait before it stops.

Who waits for a write anyhow does it in its own task (`kept`), and leaves it here where that takes
too long: a change of the task costs a tenth of a request, and writes of many tasks share a
transaction.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.lowlevel
import structlog

from chorus.errors import ChorusError, StorageUnavailable
from chorus.tasks import cancelled_at_end, surviving

Key = tuple[str, str, str]
"""Kind, owner and id of a record."""
AddWrite = Callable[[Key, int, Callable[[], Awaitable[object]]], object]
"""Lets a record of so many bytes be written behind. See `WriteBehind.add`."""

MAX_WAITING: Final = 1000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Writes that may wait, and the bytes of them."""
KEEP_SECS: Final = 60.0
"""How long a write waits for a store that is away: a Redis that is moved is back by then."""
_RETRY_SECS: Final = 1.0
"""Between two tries of the first write that waits."""
_WRITE_SECS: Final = 10.0
"""How long one write may take: SQLite waits 5 s for a lock, Redis 1 s for an answer."""
_SETTLE_SECS: Final = 2.0
"""How long a reader waits for the writes of its record."""
ACKNOWLEDGE_SECS: Final = 0.25
"""How long the end of an answer waits until it is kept: SQLite takes about a millisecond."""
_DRAIN_SECS: Final = 10.0
"""How long a server that stops begins writes that wait."""

_log = structlog.get_logger("chorus.storage")


class Write:
    """One write that waits. `is_late`: it waits for a store that is away; `failed` is called when
    it is late or lost. `is_claimed`: whoever has added it does it, or releases it."""

    __slots__ = ("_news", "added_at", "failed", "is_claimed", "is_kept", "is_late", "is_over", "key", "size", "write")

    def __init__(
        self, key: Key, size: int, write: Callable[[], Awaitable[object]], failed: Callable[[], None] | None
    ) -> None:
        self.failed = failed
        self.key = key
        self.size = size
        self.write = write
        self.added_at = time.monotonic()
        self.is_claimed = self.is_late = self.is_kept = self.is_over = False
        self._news: anyio.Event | None = None

    async def news(self) -> None:
        """Wait until it is over, or becomes late."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def wake(self) -> None:
        """End the waiting."""
        if self._news is not None:
            self._news.set()
            self._news = None


class WriteBehind:
    """Does writes one after the other, in the order in which they were added; and those that are
    claimed at the same time."""

    def __init__(self, count: Callable[[str], None] = lambda kind: None, *, is_shared: bool = True) -> None:
        """`count` is called with the kind of a record that is late or lost. `is_shared`: others
        see the store, and it outlives this process."""
        self._is_shared = is_shared
        self._count = count
        self._waiting: deque[Write] = deque()
        self._of_key: dict[Key, list[Write]] = {}
        self._count_all = self._bytes = 0
        self._added = anyio.Event()
        self._is_open = False
        self._dropped = 0

    @property
    def is_away(self) -> bool:
        """Whether writes wait for a store that has not taken the first of them."""
        return bool(self._waiting) and self._waiting[0].is_late

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Do writes while the block lasts, and at its end those that wait still."""
        self._is_open = True
        try:
            async with cancelled_at_end() as group:
                group.start_soon(self._run)
                yield
        finally:
            self._is_open = False
            with anyio.move_on_after(_DRAIN_SECS, shield=True):
                await self._drain()
            if self._waiting:
                _log.error("storage: writes are lost, since they took too long", writes=len(self._waiting))
            for write in [*self._waiting]:
                self._end(write, is_kept=False)

    def add(
        self,
        key: Key,
        size: int,
        write: Callable[[], Awaitable[object]],
        failed: Callable[[], None] | None = None,
        *,
        claims: bool = False,
    ) -> Write | None:
        """Call `write` soon, which holds `size` bytes, and again while the store is away: it must
        change nothing when it is repeated. What else it raises is logged. None where it is not
        called, since too many wait, or nothing is open: that is counted and logged. `failed` is
        called once, when the record is late or lost; without it the record is counted. `claims`:
        the caller calls `kept` if it can, and `release` in any case."""
        waiting = Write(key, size, write, failed)
        if not self._is_open or self._count_all >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self._late(waiting)
            self.lost(key[0], "too many writes wait")
            return None
        if self.is_away:
            self._late(waiting)
        # behind an earlier write of its record it waits for its turn
        waiting.is_claimed = claims and self._is_shared and not waiting.is_late and key not in self._of_key
        self._of_key.setdefault(key, []).append(waiting)
        self._count_all += 1
        self._bytes += size
        if not waiting.is_claimed:
            self._queue(waiting)
        return waiting

    async def kept(self, write: Write | None) -> bool:
        """Return whether the store has what `write` writes, as soon as it has; but not later than
        after `ACKNOWLEDGE_SECS`. One that is claimed is done here."""
        if write is None or self.is_away:
            return False
        if not self._is_shared:  # nobody sees it but through us
            return True
        if not write.is_over:
            with anyio.CancelScope(deadline=anyio.current_time() + ACKNOWLEDGE_SECS):
                if write.is_claimed:
                    await self._do_claimed(write)
                else:
                    await write.news()
        return write.is_kept

    def release(self, write: Write | None) -> None:
        """Let `write` be done like the others, where it is claimed still."""
        if write is None or not write.is_claimed:
            return
        if not self._is_open and not self._waiting:  # the server has stopped
            self._late(write)
            self.lost(write.key[0], "the server stops")
            self._end(write, is_kept=False)
            return
        write.is_claimed = False
        self._queue(write)

    async def _do_claimed(self, write: Write) -> None:
        """Do a write once. It is released where it must be tried again, and by who is cancelled."""
        try:
            is_kept = await self._attempt(write)
        except BaseException:
            self.release(write)
            raise
        if is_kept is None:
            self.release(write)
        else:
            self._end(write, is_kept=is_kept)

    def _queue(self, write: Write) -> None:
        """Let `write` wait for its turn. One that is late is the next: the store is away."""
        if write.is_late and not self.is_away:
            self._waiting.appendleft(write)
        else:
            self._waiting.append(write)
        self._added.set()

    async def settled(self, key: Key) -> None:
        """Return when no write of this record waits: what is read then has all that was added.

        Raises:
            StorageUnavailable: a write of the record waits for a store that is away, or takes too
                long.
        """
        if key not in self._of_key:
            return
        with anyio.move_on_after(_SETTLE_SECS):
            while (waiting := self._of_key.get(key)) is not None and not self.is_away:
                await waiting[-1].news()
        if key in self._of_key:
            error = StorageUnavailable("The newest state of this record is not written yet: the store is away.")
            error.kind = key[0]
            raise error

    async def settled_all(self, kind: str, owner: str) -> None:
        """Return when no write waits that waits now, of the records of this kind and owner. Raises
        as `settled` does."""
        for key in [key for key in self._of_key if key[:2] == (kind, owner)]:
            await self.settled(key)

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            self._added = anyio.Event()
            await self._drain()

    async def _drain(self) -> None:
        while self._waiting:
            await anyio.lowlevel.checkpoint()
            first = self._waiting[0]
            is_kept = await self._try(first)
            if is_kept is None:
                await anyio.sleep(_RETRY_SECS)
            else:
                self._end(first, is_kept=is_kept)

    async def _try(self, first: Write) -> bool | None:
        """Do a write. Returns whether it is kept; None where it is to be tried again."""
        # shielded, so that a write that has begun is not begun again
        with anyio.move_on_after(_WRITE_SECS, shield=True):
            return await self._attempt(first)
        self.lost(first.key[0], "its write takes too long; it may be kept")
        self._late(first)
        return False

    async def _attempt(self, write: Write) -> bool | None:
        """Do a write. Returns as `_try` does."""
        kind = write.key[0]
        with surviving("a record could not be kept"):
            try:
                await write.write()
                return True
            except StorageUnavailable as problem:
                if self._is_open and time.monotonic() - write.added_at < KEEP_SECS:
                    if not self.is_away:
                        _log.warning("storage: writes wait", writes=self._count_all, problem=problem.log_message)
                    self._late(write)
                    return None
                self.lost(kind, problem.log_message)
            except ChorusError as problem:
                self.lost(kind, problem.log_message)
        self._late(write)
        return False

    def _late(self, write: Write) -> None:
        """Say once that `write` waits for a store that is away, or is lost."""
        if not write.is_late:
            write.is_late = True
            if write.failed is not None:
                write.failed()
            else:
                self._count(write.key[0])
            write.wake()

    def lost(self, kind: str, reason: str) -> None:
        """Note that a record is not kept. The log says so for the first, and for each hundredth."""
        if self._dropped % 100 == 0:
            _log.warning("storage: a record is not kept", kind=kind, problem=reason, lost=self._dropped + 1)
        self._dropped += 1

    def _end(self, write: Write, *, is_kept: bool) -> None:
        """Forget `write`, which is claimed or waits, and wake those who wait for it."""
        if not write.is_claimed:
            self._waiting.remove(write)
        write.is_claimed = False
        self._count_all -= 1
        self._bytes -= write.size
        of_key = self._of_key[write.key]
        of_key.remove(write)
        if not of_key:
            del self._of_key[write.key]
        write.is_kept = is_kept
        write.is_over = True
        write.wake()
        if is_kept:
            self._dropped = 0
