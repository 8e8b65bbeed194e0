"""Budgets of keys: requests of a key whose budget is spent are refused before any model call (M6).

What a key has spent is the sum in the store, which every process writes to each second, and what
this process has counted since it was read. So a budget that is spent is noticed by the other
processes within about two seconds; requests that have begun by then are answered.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Final

import anyio
import msgspec
import structlog

from chorus.accounting.ledger import UsageLedger
from chorus.auth.budget import KeyBudget
from chorus.auth.keys import Key
from chorus.errors import BudgetExhausted, StorageUnavailable
from chorus.storage.records import BILLIONTHS

READ_SECS: Final = 1.0
"""How long a sum of the store is used."""
_WAIT_SECS: Final = 1.0
"""How long a request waits for the store."""
_MANY: Final = 10_000
"""With the sums of so many keys known, all are forgotten: they are read again when needed."""
_AWAY: Final = "The storage is away: the budget of this key is checked by what this server knows."
_log = structlog.get_logger("chorus.usage")


class _Spent(msgspec.Struct):
    """What a key has spent since the day `start`.

    `known` is the sum in the store at the time `read_at`, when this process had counted `recorded`
    of it in all.
    """

    start: date
    known: float
    recorded: float
    read_at: float


class Budgets:
    """Checks the budgets of keys against the usage that `ledger` writes."""

    def __init__(self, ledger: UsageLedger, failed: Callable[[], None]) -> None:
        """`failed` is called when a budget is checked without the store."""
        self._ledger = ledger
        self._failed = failed
        self._spent: dict[str, _Spent] = {}
        self._is_away = False

    async def check(self, key: Key) -> str | None:
        """Let a request of `key` go on. Without the store it goes on by what is known here; then
        the sentence that says so is returned.

        Raises:
            BudgetExhausted: its budget is spent.
        """
        budget = key.budget
        if budget is None:
            return None
        now = datetime.fromtimestamp(self._ledger.clock(), UTC)
        start = budget.began(now.date())
        spent = self._fresh(key.id, start) or await self._read(key.id, start)
        cost = spent.known + self._ledger.recorded_cost(key.id) - spent.recorded
        # as whole billionths, as the store has them: sums of floats stay a little below
        if round(cost * BILLIONTHS) >= round(budget.amount * BILLIONTHS):
            raise _exhausted(budget, now)
        return _AWAY if self._is_away else None

    def _fresh(self, owner: str, start: date) -> _Spent | None:
        """Return what was read not long ago."""
        spent = self._spent.get(owner)
        if spent is None or spent.start != start or not 0 <= self._ledger.clock() - spent.read_at < READ_SECS:
            return None
        return spent

    async def _read(self, owner: str, start: date) -> _Spent:
        """Return what `owner` has spent since `start`, as the store knows it. Where that is away,
        what was known before."""
        ledger = self._ledger
        try:
            with anyio.fail_after(_WAIT_SECS):
                async with ledger.unchanged():
                    spent = self._fresh(owner, start)  # another request may have read it meanwhile
                    if spent is None:
                        rows = await ledger.store.query(owner, start=start.isoformat())
                        spent = self._keep(owner, start, sum(row.cost for row in rows))
        except (TimeoutError, StorageUnavailable) as problem:
            self._failed()
            if not self._is_away:
                _log.warning("budgets are checked without the store, which is away", problem=type(problem).__name__)
            self._is_away = True
            return self._without_store(owner, start)
        self._is_away = False
        return spent

    def _without_store(self, owner: str, start: date) -> _Spent:
        """Return what is known without the store. It is asked again in a second."""
        spent = self._spent.get(owner)
        if spent is None or spent.start != start:
            return self._keep(owner, start, 0.0)
        spent.read_at = self._ledger.clock()
        return spent

    def _keep(self, owner: str, start: date, stored: float) -> _Spent:
        if len(self._spent) >= _MANY:
            self._spent.clear()
        ledger = self._ledger
        known = stored + ledger.waiting_cost(owner, start)
        spent = self._spent[owner] = _Spent(start, known, ledger.recorded_cost(owner), ledger.clock())
        return spent


def _exhausted(budget: KeyBudget, now: datetime) -> BudgetExhausted:
    """Return the error that says when `budget` renews."""
    renews = budget.renews(now.date())
    secs = (datetime.combine(renews, time(), UTC) - now).total_seconds()
    words = f"{renews:%A}, {renews.day} {renews:%B %Y}"
    return BudgetExhausted(
        f"The budget of this key, {budget}, is spent. It renews on {words}, at 00:00 UTC ({renews.isoformat()}).",
        renews_in_secs=secs,
    )
