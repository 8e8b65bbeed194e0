"""Outcomes of runs in SQL, with the sums of their credits. See `outcomes.Outcomes`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from chorus.storage.database import Database, prune, size_of, visible_from
from chorus.storage.records import CREDIT_COUNTS, MILLIONTHS, Bounds, Credit, Outcome, in_millionths

_PUT: Final = """
INSERT INTO outcomes (owner, id, workflow, at, size, value, credits) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id, owner) DO UPDATE SET
  at = excluded.at, size = excluded.size, value = excluded.value, credits = excluded.credits
"""
_ADD: Final = f"""
INSERT INTO tallies (owner, task_type, worker, bucket, at, size, {", ".join(CREDIT_COUNTS)})
VALUES (?, ?, ?, ?, ?, ?{", ?" * len(CREDIT_COUNTS)})
ON CONFLICT (owner, bucket, task_type, worker) DO UPDATE SET
  {", ".join(f"{name} = {name} + excluded.{name}" for name in CREDIT_COUNTS)}
"""
_TAKE: Final = f"""
UPDATE tallies SET {", ".join(f"{name} = {name} - ?" for name in CREDIT_COUNTS)}
WHERE owner = ? AND task_type = ? AND worker = ? AND bucket = ?
"""
_QUERY: Final = f"""
SELECT task_type, worker, bucket, {", ".join(CREDIT_COUNTS)} FROM tallies
WHERE owner = ? AND bucket >= ? AND at >= ? ORDER BY task_type, worker, bucket
"""
_credits: Final = msgspec.json.Decoder(tuple[Credit, ...])
_outcome: Final = msgspec.json.Decoder(Outcome)


class SqlOutcomes:
    """Outcomes in `database`; `bounds` are theirs, `tallies` those of the sums."""

    def __init__(self, database: Database, bounds: Bounds, tallies: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._tallies = tallies

    async def put(self, outcome: Outcome) -> None:
        value = msgspec.json.encode(msgspec.structs.replace(outcome, credits=()))
        credits = msgspec.json.encode(outcome.credits)
        size = size_of(outcome.source, outcome.run, outcome.workflow, value, credits)
        row = (outcome.source, outcome.run, outcome.workflow, outcome.at, size, value, credits)

        def work(connection: sqlite3.Connection) -> None:
            query = "SELECT at, workflow, credits FROM outcomes WHERE id = ? AND owner = ?"
            before = connection.execute(query, (outcome.run, outcome.source)).fetchone()
            if before is not None:
                if before[0] > outcome.at:
                    return
                _take(connection, before[1], _credits.decode(before[2]))
            for credit in outcome.credits:
                columns = (outcome.workflow, credit.task_type, credit.worker)
                # a tally is as old as its bucket
                place = (*columns, credit.bucket, float(credit.bucket), size_of(*columns))
                connection.execute(_ADD, (*place, *in_millionths(credit)))
            connection.execute(_PUT, row)
            prune(connection, "outcomes", self._bounds)
            prune(connection, "tallies", self._tallies)

        await self._database.write(work, size)

    async def get(self, run: str) -> list[Outcome]:
        query = "SELECT value FROM outcomes WHERE id = ? AND at >= ? ORDER BY at, seq"
        values = (run, visible_from(self._bounds))

        def work(connection: sqlite3.Connection) -> list[Outcome]:
            return [_outcome.decode(value) for (value,) in connection.execute(query, values)]

        return await self._database.read(work, is_single=True)

    async def query(self, workflow: str, since: int) -> list[Credit]:
        values = (workflow, since, visible_from(self._tallies))

        def work(connection: sqlite3.Connection) -> list[Credit]:
            return [_credit(row) for row in connection.execute(_QUERY, values)]

        return await self._database.read(work, is_single=True)

    async def reset(self, workflow: str | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if workflow is None:
                connection.execute("DELETE FROM tallies")
                connection.execute("UPDATE outcomes SET credits = '[]'")
            else:
                connection.execute("DELETE FROM tallies WHERE owner = ?", (workflow,))
                connection.execute("UPDATE outcomes SET credits = '[]' WHERE workflow = ?", (workflow,))

        await self._database.write(work)


def _take(connection: sqlite3.Connection, workflow: str, credits: Sequence[Credit]) -> None:
    """Take `credits` away from their sums, where these are kept still."""
    for credit in credits:
        place = (workflow, credit.task_type, credit.worker, credit.bucket)
        connection.execute(_TAKE, (*in_millionths(credit), *place))


def _credit(row: tuple[str, str, int, *tuple[int, ...]]) -> Credit:
    task_type, worker, bucket, *counts = row
    return Credit(task_type, worker, bucket, *(count / MILLIONTHS for count in counts))
