"""Usage in SQL. See `base.UsageCounts`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from typing import Final

import msgspec

from chorus.storage.database import Database, prune, size_of, visible_from
from chorus.storage.records import BILLIONTHS, USAGE_COLUMNS, Bounds, UsageColumn, UsageRow

_COUNTS: Final = ("requests", "calls", "prompt_tokens", "completion_tokens", "cost")
_ADD: Final = f"""
INSERT INTO usage (owner, user, model, day, at, size, {", ".join(_COUNTS)})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, day, user, model) DO UPDATE SET
  at = excluded.at, {", ".join(f"{count} = {count} + excluded.{count}" for count in _COUNTS)}
"""


class SqlUsage:
    """Counts in `database`, as many as `bounds` let."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    async def add(self, *rows: UsageRow) -> None:
        def work(connection: sqlite3.Connection) -> None:
            now = time.time()
            for row in rows:
                columns = (row.key or "", row.user or "", row.model or "", row.day or "")
                counts = (row.requests, row.calls, row.prompt_tokens, row.completion_tokens)
                connection.execute(_ADD, (*columns, now, size_of(*columns), *counts, round(row.cost * BILLIONTHS)))
            prune(connection, "usage", self._bounds)

        # counts are not added twice: the caller limits the time
        await self._database.write(work, secs=None)

    async def query(
        self,
        owner: str | None,
        *,
        group_by: Collection[UsageColumn] = (),
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
    ) -> list[UsageRow]:
        names = [column for column in USAGE_COLUMNS if column in group_by]
        columns = ["owner" if name == "key" else name for name in names]
        conditions = {"owner = ?": owner, "day >= ?": start, "day <= ?": end, "at >= ?": visible_from(self._bounds)}
        where = {condition: value for condition, value in conditions.items() if value is not None}
        chosen = ", ".join([*columns, *(f"SUM({count})" for count in _COUNTS)])
        # grouped by a constant where no column is: without rows there is no sum either
        groups = ", ".join(columns) or "1 + 0"
        order = f" ORDER BY {groups}" if columns else ""
        query = f"SELECT {chosen} FROM usage WHERE {' AND '.join(where)} GROUP BY {groups}{order} LIMIT ?"
        values = (*where.values(), -1 if limit is None else limit)  # SQLite takes -1 as none

        def work(connection: sqlite3.Connection) -> list[UsageRow]:
            rows = connection.execute(query, values).fetchall()
            return [_row(dict(zip([*names, *_COUNTS], values, strict=True))) for values in rows]

        return await self._database.read(work)


def _row(values: dict[str, int | str]) -> UsageRow:
    return msgspec.convert({**values, "cost": int(values["cost"]) / BILLIONTHS}, UsageRow)
