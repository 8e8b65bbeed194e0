"""Wait for a batch and have it processed (K3). `batch.py` decides which items share one.

A batch is a task of the server: it belongs to none of those who wait for it, and is cancelled when
none is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from chorus.admission.batch import Batch, Batcher
from chorus.errors import ChorusError, Internal, Stopping
from chorus.tasks import ServerTasks

T = TypeVar("T")
R = TypeVar("R")


class BatchItem(Generic[T, R]):
    """One item of a batch, and what comes of it."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.is_wanted = True
        """False when its caller has left, or has its result."""
        self._outcome: R | ChorusError | None = None
        self._is_settled = anyio.Event()

    def settle(self, outcome: R | ChorusError) -> None:
        """Give its caller the result, or the error to be raised; only the first time counts."""
        if not self._is_settled.is_set():
            self._outcome = outcome
            self._is_settled.set()

    async def result(self) -> R:
        """Wait for the result. Raises the error that it was settled with."""
        await self._is_settled.wait()
        if isinstance(self._outcome, ChorusError):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


@dataclass(frozen=True, slots=True)
class _Trip:
    """The task of one batch."""

    is_full: anyio.Event
    scope: anyio.CancelScope


class Batching(Generic[T, R]):
    """Gathers items of many callers and has `work` settle each of them.

    Where `tasks` is not open (outside a server) nothing is gathered: each item is worked off at
    once, in its caller's task.
    """

    def __init__(
        self,
        work: Callable[[Sequence[BatchItem[T, R]]], Awaitable[None]],
        *,
        max_size: int,
        window_secs: float,
        tasks: ServerTasks,
    ) -> None:
        """`work` raises no ChorusError: it settles items with it."""
        self._work = work
        self._tasks = tasks
        self._batcher = Batcher[BatchItem[T, R]](max_size, window_secs)
        self._trips: dict[Batch[BatchItem[T, R]], _Trip] = {}

    async def submit(self, item: T, *, key: Hashable, size: int) -> R:
        """Return what comes of `item`, which may share a batch with others of the same `key`.

        Who is cancelled while waiting leaves the batch at once.

        Raises:
            ChorusError: what `work` settled it with.
            Stopping: the server stops.
        """
        waiting = BatchItem[T, R](item)
        if not self._tasks.is_open:
            await self._work([waiting])
            return await waiting.result()
        earlier = self._batcher.gathering(key)
        place = self._batcher.join(waiting, key=key, size=size, now=anyio.current_time())
        trip = self._trips.get(place.batch)
        if trip is None:
            is_full = anyio.Event()
            trip = self._trips[place.batch] = _Trip(is_full, self._tasks.start(self._drive, place.batch, is_full))
        for batch in (earlier, place.batch):
            if batch is not None and batch.is_closed:
                self._trips[batch].is_full.set()
        try:
            return await waiting.result()
        finally:
            waiting.is_wanted = False
            self._batcher.leave(place)
            if not place.batch.size:
                trip.scope.cancel()

    async def _drive(self, batch: Batch[BatchItem[T, R]], is_full: anyio.Event) -> None:
        """Wait until `batch` is due, and have it worked off."""
        try:
            while (remaining := batch.due_at - anyio.current_time()) > 0:
                # who came first may leave, and it is due later
                with anyio.move_on_after(remaining):
                    await is_full.wait()
            self._batcher.close(batch)
            if batch.size:
                await self._work(batch.items)
        except Exception:
            for waiting in batch.items:
                waiting.settle(Internal())
            raise
        finally:
            del self._trips[batch]
            self._batcher.close(batch)
            for waiting in batch.items:
                waiting.settle(Stopping())
