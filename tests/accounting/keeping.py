"""A clock that a test sets, a store that can be away, and what a test asks of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import anyio

from chorus.auth.budget import KeyBudget, Per
from chorus.auth.keys import Key
from chorus.auth.principal import Principal
from chorus.errors import StorageUnavailable
from chorus.storage.base import UsageCounts
from chorus.storage.records import UsageColumn, UsageRow
from chorus.usage import Usage


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self, iso: str) -> None:
        self.set(iso)

    def set(self, iso: str) -> None:
        self.secs = datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.secs


class Unreliable:
    """Another store's usage, which is away or silent when the test says so."""

    def __init__(self, inner: UsageCounts) -> None:
        self._inner = inner
        self.is_away = self.is_silent = False
        self.queries = 0
        self.added = anyio.Event()

    async def add(self, *rows: UsageRow) -> None:
        await self._answer()
        await self._inner.add(*rows)
        self.added.set()

    async def query(
        self,
        owner: str | None,
        *,
        group_by: Collection[UsageColumn] = (),
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
    ) -> list[UsageRow]:
        self.queries += 1
        await self._answer()
        return await self._inner.query(owner, group_by=group_by, start=start, end=end, limit=limit)

    async def _answer(self) -> None:
        if self.is_silent:
            await anyio.sleep_forever()
        if self.is_away:
            raise StorageUnavailable("The store is away.")


class Failures:
    """Counts what went on without the store."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


def key(id: str, amount: float | None = None, per: Per = "day") -> Key:
    """A key, with a budget where it has an amount."""
    return Key(id, id, id, budget=KeyBudget(amount, per) if amount is not None else None)


def caller(id: str, user: str = "") -> Principal:
    """A request of the key of this id."""
    return Principal("/v1/chat/completions", key(id), user)


def costing(cost: float) -> Usage:
    """The usage of a call."""
    return Usage(10, 5, cost=cost)
