"""A key whose budget is spent is refused until it renews, whichever process it asks (M6)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest

from chorus.accounting import budgets as budgets_module
from chorus.accounting.budgets import Budgets
from chorus.accounting.ledger import UsageLedger
from chorus.auth.budget import Per
from chorus.auth.keys import Key
from chorus.errors import BudgetExhausted
from chorus.storage.base import Storage
from chorus.storage.memory import memory_storage
from chorus.storage.opening import open_storage
from chorus.storage.records import IN_MEMORY, UsageRow
from tests.accounting.keeping import Clock, Failures, Unreliable, caller, costing, key

pytestmark = pytest.mark.requirement("M6")
KEY = key("ann", 10, "day")


class Process:
    """The ledger and the budgets of one process at `storage`."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.clock = clock
        self.store = Unreliable(storage.usage)
        self.failures = Failures()
        self.ledger = UsageLedger(self.store, self.failures, clock)
        self.budgets = Budgets(self.ledger, self.failures)

    def spend(self, cost: float, id: str = "ann") -> None:
        self.ledger.call(caller(id), "glm", costing(cost))

    async def lets(self, key: Key = KEY) -> bool:
        try:
            await self.budgets.check(key)
        except BudgetExhausted:
            return False
        return True


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with memory_storage(IN_MEMORY) as opened:
        yield opened


@pytest.fixture
def process(storage: Storage) -> Process:
    return Process(storage, Clock("2026-11-26 12:00"))


async def test_a_key_without_a_budget_costs_no_look_at_the_store(process: Process) -> None:
    process.spend(1e6)
    assert await process.lets(key("ann"))
    assert process.store.queries == 0


async def test_a_budget_is_spent_at_its_amount_and_by_its_own_key_only(process: Process) -> None:
    process.spend(99, "ben")
    for _ in range(100):  # whose sum as floats is below 10
        assert await process.lets()
        process.spend(0.1)
    assert not await process.lets()
    assert await process.lets(key("cleo", 1))
    assert not await process.lets(key("ben", 99))


async def test_what_is_written_meanwhile_counts_once(process: Process) -> None:
    process.spend(4)
    assert await process.lets()
    await process.ledger.flush()
    process.spend(4)
    assert await process.lets()
    process.clock.secs += 5
    assert await process.lets()
    await process.ledger.flush()
    assert await process.lets()
    process.spend(2)
    assert not await process.lets()


async def test_a_sum_is_read_once_a_second(process: Process) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(process.lets)
    assert process.store.queries == 1
    process.clock.secs += 0.9
    await process.lets()
    assert process.store.queries == 1
    process.clock.secs += 0.2
    await process.lets()
    assert process.store.queries == 2


@pytest.mark.parametrize(
    ("per", "spent_at", "still", "renewed", "words"),
    [
        ("day", "2026-11-26 00:00", "2026-11-26 23:59:59", "2026-11-27 00:00", "Friday, 27 November 2026"),
        ("week", "2026-11-23 00:00", "2026-11-29 23:59:59", "2026-11-30 00:00", "Monday, 30 November 2026"),
        ("month", "2026-11-01 00:00", "2026-11-30 23:59:59", "2026-12-01 00:00", "Tuesday, 1 December 2026"),
        ("month", "2026-12-31 23:00", "2026-12-31 23:59:59", "2027-01-01 00:00", "Friday, 1 January 2027"),
        ("month", "2028-02-01 00:00", "2028-02-29 23:59:59", "2028-03-01 00:00", "Wednesday, 1 March 2028"),
        ("week", "2026-12-28 00:00", "2027-01-03 23:59:59", "2027-01-04 00:00", "Monday, 4 January 2027"),
    ],
)
@pytest.mark.parametrize("is_written", [True, False])
async def test_a_budget_renews_at_the_turn_of_its_period(
    storage: Storage, per: Per, spent_at: str, still: str, renewed: str, words: str, is_written: bool
) -> None:
    process, bounded = Process(storage, Clock(spent_at)), key("ann", 10, per)
    process.spend(10)
    if is_written:
        await process.ledger.flush()
    process.clock.set(still)
    with pytest.raises(BudgetExhausted) as refused:
        await process.budgets.check(bounded)
    message = refused.value.message
    assert f"10 per {per}" in message
    assert words in message
    assert f"({renewed[:10]})" in message
    assert refused.value.retry_after == 1
    process.clock.set(renewed)
    assert await process.lets(bounded)
    process.spend(10)
    assert not await process.lets(bounded)


async def test_the_wait_may_be_longer_than_a_day(storage: Storage) -> None:
    process = Process(storage, Clock("2026-11-01 00:00"))
    process.spend(1)
    with pytest.raises(BudgetExhausted) as refused:
        await process.budgets.check(key("ann", 1, "month"))
    assert refused.value.retry_after == 30 * 86_400


async def test_days_before_the_period_do_not_count(process: Process) -> None:
    await process.store.add(
        UsageRow("ann", "", "glm", "2026-11-25", cost=1000), UsageRow("ann", "", "m", "2026-11-26", cost=9)
    )
    assert await process.lets()
    assert not await process.lets(key("ann", 1000, "week"))


@pytest.mark.parametrize("is_silent", [True, False])
async def test_requests_go_on_while_the_store_is_away(
    process: Process, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets_module, "_WAIT_SECS", 0.05)
    process.store.is_away, process.store.is_silent = not is_silent, is_silent
    assert await process.lets()
    assert process.failures.count == 1
    await process.lets()
    assert process.store.queries == 1  # the store is asked again after a second only
    process.spend(10)  # what this process knows holds
    assert not await process.lets()
    process.clock.secs += 2
    assert not await process.lets()
    assert process.failures.count == 2


async def test_what_the_store_said_last_holds_while_it_is_away(process: Process) -> None:
    await process.store.add(UsageRow("ann", "", "glm", "2026-11-26", cost=10))
    assert not await process.lets()
    process.store.is_away = True
    process.clock.secs += 100
    assert not await process.lets()
    process.clock.set("2026-11-27 00:00")
    assert await process.lets()


async def test_two_stores_of_one_file_share_a_budget(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/chorus.db", Clock("2026-11-26 12:00")
    async with open_storage(url) as one, open_storage(url) as two:
        first, second = Process(one, clock), Process(two, clock)
        assert await first.lets()
        assert await second.lets()
        first.spend(6)
        second.spend(4)
        await first.ledger.flush()
        await second.ledger.flush()
        clock.secs += 1
        assert not await first.lets()
        assert not await second.lets()


OTHER: str = """
import sys, anyio
from chorus.accounting.ledger import UsageLedger
from chorus.auth.principal import Principal
from chorus.auth.keys import Key
from chorus.storage.opening import open_storage
from chorus.usage import Usage

async def main():
    async with open_storage(sys.argv[1]) as storage:
        ledger = UsageLedger(storage.usage, lambda: None, lambda: float(sys.argv[2]))
        async with ledger.open():
            for _ in range(50):
                ledger.call(Principal("/", Key("ann", "", "")), "glm", Usage(1, 1, cost=0.1))
                await ledger.flush()

anyio.run(main)
"""


async def test_two_processes_on_one_file_share_a_budget(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/chorus.db", Clock("2026-11-26 12:00")
    async with open_storage(url) as storage:
        here = Process(storage, clock)
        assert await here.lets()
        command: Sequence[str] = [sys.executable, "-c", OTHER, url, str(clock())]
        async with await anyio.open_process(command, stdout=subprocess.DEVNULL, stderr=None) as other:
            for _ in range(49):
                here.spend(0.1)
                await here.ledger.flush()
            with anyio.fail_after(60):
                assert await other.wait() == 0
        clock.secs += 1
        assert await here.lets()
        here.spend(0.1)
        assert not await here.lets()
        [total] = await here.store.query("ann")
        assert (total.calls, total.cost) == (99, 9.9)
