"""Which items share a batch, and when it is due (K3). Pure: `now` comes from the caller, in
seconds.

Items with the same key share a batch, in the order in which they come. It is due when it is full,
and in any case `window_secs` after the first of those who are in it came. An item that does not fit
any more makes the batch due and begins the next one; one that is larger than a batch may be goes
alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """Items that go together."""

    def __init__(self, key: Hashable, window_secs: float) -> None:
        self.key = key
        self.size = 0
        self.is_closed = False
        """Whether nobody joins any more: it is full, it was taken, or all have left."""
        self._window_secs = window_secs
        self._places: dict[Place[T], None] = {}

    @property
    def due_at(self) -> float:
        """When it is to go, on the clock of `now`; minus infinity for one that waits for nobody."""
        if self.is_closed:
            return -math.inf
        return next(iter(self._places)).arrived + self._window_secs

    @property
    def items(self) -> list[T]:
        """What is in it, in the order in which it came; without those that have left."""
        return [place.item for place in self._places]

    def _add(self, place: Place[T]) -> None:
        self._places[place] = None
        self.size += place.size

    def _remove(self, place: Place[T]) -> None:
        if place in self._places:
            del self._places[place]
            self.size -= place.size


class Place(Generic[T]):
    """Where an item waits."""

    __slots__ = ("arrived", "batch", "item", "size")

    def __init__(self, item: T, size: int, arrived: float, batch: Batch[T]) -> None:
        self.item = item
        self.size = size
        self.arrived = arrived
        self.batch = batch


class Batcher(Generic[T]):
    """The batches that are being gathered, one for each key.

    `max_size` bounds the sum of the sizes in one.
    """

    def __init__(self, max_size: int, window_secs: float) -> None:
        self._max_size = max_size
        self._window_secs = window_secs
        self._open: dict[Hashable, Batch[T]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def gathering(self, key: Hashable) -> Batch[T] | None:
        """Return the batch that the next item with `key` would join, if it fits."""
        return self._open.get(key)

    def join(self, item: T, *, key: Hashable, size: int, now: float) -> Place[T]:
        """Return a place in a batch.

        The batch that it does not fit into any more is closed, as is its own when it is full.
        """
        batch = self._open.get(key)
        if size > self._max_size:
            batch = Batch[T](key, self._window_secs)
        elif batch is None or batch.size + size > self._max_size:
            if batch is not None:
                self.close(batch)
            batch = self._open[key] = Batch[T](key, self._window_secs)
        place = Place(item, size, now, batch)
        batch._add(place)
        if batch.size >= self._max_size:
            self.close(batch)
        return place

    def leave(self, place: Place[T]) -> None:
        """Give the place up. A batch that all have left is closed."""
        place.batch._remove(place)
        if not place.batch.size:
            self.close(place.batch)

    def close(self, batch: Batch[T]) -> None:
        """Let nobody join `batch` any more: it goes now."""
        batch.is_closed = True
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
