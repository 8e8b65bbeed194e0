"""Usage is counted once, reaches the store within a second or two, and waits for one that is away
(M6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import anyio
import pytest

from chorus.accounting import ledger as ledger_module
from chorus.accounting.ledger import UsageLedger
from chorus.errors import StorageUnavailable
from chorus.events import RunFinished, RunStarted, StageFinished, StageStarted
from chorus.storage.base import UsageCounts
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY, USAGE_COLUMNS, UsageRow
from chorus.types import Answer
from chorus.usage import Usage
from tests.accounting.keeping import Clock, Failures, Unreliable, caller, costing

pytestmark = pytest.mark.requirement("M6")
DAY = "2026-11-26"


@pytest.fixture
async def store() -> AsyncIterator[Unreliable]:
    async with memory_storage(IN_MEMORY) as storage:
        yield Unreliable(storage.usage)


@pytest.fixture
def clock() -> Clock:
    return Clock(f"{DAY} 12:00")


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def ledger(store: Unreliable, clock: Clock, failures: Failures) -> UsageLedger:
    return UsageLedger(store, failures, clock)


async def kept(store: Unreliable) -> list[UsageRow]:
    """Every row of the store."""
    return await store.query(None, group_by=USAGE_COLUMNS)


async def test_calls_of_one_place_become_one_row(ledger: UsageLedger, store: Unreliable) -> None:
    for _ in range(3):
        ledger.request(caller("ann"), "glm")
        ledger.call(caller("ann"), "glm", Usage(10, 5, cost=0.25))
    ledger.call(caller("ann", "kim"), "glm", Usage(1, 1))
    ledger.call(caller("ben"), "glm", None)
    assert await kept(store) == []
    await ledger.flush()
    assert await kept(store) == [
        UsageRow("ann", "", "glm", DAY, 3, 3, 30, 15, 0.75),
        UsageRow("ann", "kim", "glm", DAY, 0, 1, 1, 1),
        UsageRow("ben", "", "glm", DAY, 0, 1),
    ]


async def test_a_day_ends_at_midnight_in_utc(ledger: UsageLedger, store: Unreliable, clock: Clock) -> None:
    clock.set("2026-11-26 23:59:59.999")
    ledger.call(caller("ann"), "glm", costing(1))
    clock.set("2026-11-27 00:00")
    ledger.call(caller("ann"), "glm", costing(2))
    await ledger.flush()
    assert [(row.day, row.cost) for row in await kept(store)] == [("2026-11-26", 1), ("2026-11-27", 2)]


async def test_a_run_counts_as_one_request_and_its_calls_once(ledger: UsageLedger, store: Unreliable) -> None:
    observe = ledger.observer(caller("ann"))
    spent, wrong = Usage(10, 5, cost=1.0), Usage(99, 99, cost=99.0)
    tried = ("a", "a", "b")
    for event in (
        RunStarted("wf_1", "r", "chorus:latest", "chorus", 0.0),
        StageStarted(("0",), 0, "worker", "w", "glm"),
        StageStarted(("1",), 0, "worker", "nested", None, is_group=True),
        StageStarted(("1", "0"), 0, "worker", "w", "kimi"),
        StageStarted(("1", "1"), 0, "worker", "hedge", "kimi", is_hedge=True),
        StageFinished(("0",), 1, "ok", usage=spent, attempts=tried),
        StageFinished(("1", "0"), 1, "cancelled", usage=spent, attempts=("a",)),
        StageFinished(("1", "1"), 1, "ok", usage=spent, attempts=("a",)),
        StageFinished(("1",), 1, "ok", usage=wrong),
        StageStarted(("selector",), 1, "selector", "s", "glm"),
        StageFinished(("selector",), 1, "fallback"),  # its model was never asked
        RunFinished(2, (Answer("done"),), wrong),
    ):
        observe(event)
    await ledger.flush()
    assert await kept(store) == [
        UsageRow("ann", "", "chorus", DAY, 1),
        UsageRow("ann", "", "glm", DAY, 0, 1, 10, 5, 1.0),
        UsageRow("ann", "", "kimi", DAY, 0, 2, 20, 10, 2.0),
    ]


async def test_an_open_ledger_writes_by_itself(
    ledger: UsageLedger, store: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "FLUSH_SECS", 0.0)
    async with ledger.open():
        ledger.call(caller("ann"), "glm", costing(1))
        with anyio.fail_after(5):
            await store.added.wait()
        assert [row.cost for row in await kept(store)] == [1]


async def test_what_is_counted_during_a_write_waits_for_the_next(ledger: UsageLedger, store: Unreliable) -> None:
    """Under load a flush that went on until nothing waits would write for ever, a row at a time."""

    class Busy:
        """A store during whose writes calls end."""

        writes = 0

        async def add(self, *rows: UsageRow) -> None:
            self.writes += 1
            assert self.writes < 10, "it writes what is counted while it writes"
            ledger.call(caller("ann"), "glm", costing(1))
            await store.add(*rows)

    busy = Busy()
    ledger.call(caller("ann"), "glm", costing(1))
    ledger.store = cast(UsageCounts, busy)
    await ledger.flush()
    assert [row.calls for row in await kept(store)] == [1]
    ledger.store = store
    await ledger.flush()
    assert (busy.writes, [row.calls for row in await kept(store)]) == (1, [2])


async def test_what_waits_is_written_when_the_server_stops(ledger: UsageLedger, store: Unreliable) -> None:
    async with ledger.open():
        ledger.call(caller("ann"), "glm", costing(1))
    assert [row.cost for row in await kept(store)] == [1]


async def test_counts_wait_for_a_store_that_is_away(
    ledger: UsageLedger, store: Unreliable, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "FLUSH_SECS", 0.0)
    store.is_away = True
    async with ledger.open():
        ledger.call(caller("ann"), "glm", costing(1))
        with anyio.fail_after(5):
            while failures.count < 2:
                await anyio.lowlevel.checkpoint()
        with pytest.raises(StorageUnavailable):
            await ledger.flush()
        ledger.call(caller("ann"), "glm", costing(2))
        store.is_away = False
        with anyio.fail_after(5):
            await store.added.wait()
    assert [(row.calls, row.cost) for row in await kept(store)] == [(2, 3)]


async def test_a_write_whose_caller_leaves_is_neither_lost_nor_repeated(ledger: UsageLedger, store: Unreliable) -> None:
    for steps in range(6):
        ledger.call(caller("ann"), "glm", costing(1))
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.flush)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    await ledger.flush()
    assert [(row.calls, row.cost) for row in await kept(store)] == [(6, 6)]


async def test_rows_that_wait_are_bounded_and_costs_are_still_complete(
    ledger: UsageLedger, store: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 2)
    for number in range(10):
        ledger.call(caller("ann", f"user {number}"), "glm", costing(1))
    assert ledger.waiting_cost("ann", ledger.today()) == 10
    await ledger.flush()
    assert [(row.user, row.cost) for row in await kept(store)] == [("", 8), ("user 0", 1), ("user 1", 1)]


async def test_a_write_that_takes_too_long_is_not_repeated_and_holds_no_other(
    ledger: UsageLedger, store: Unreliable, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FLUSH_SECS", 0.0), ("_WRITE_SECS", 0.05), ("_ROWS_AT_ONCE", 1)):
        monkeypatch.setattr(ledger_module, name, value)
    store.is_silent = True
    for model in ("first", "second"):
        ledger.call(caller("ann"), model, costing(1))
    with pytest.raises(StorageUnavailable):
        await ledger.flush()
    store.is_silent = False
    async with ledger.open():
        with anyio.fail_after(5):
            await store.added.wait()
    assert [row.model for row in await kept(store)] == ["second"]
    assert failures.count == 0
