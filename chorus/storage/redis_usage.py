"""Usage in Redis. See `base.UsageCounts`.

`chorus:usage:<owner>:<day>` is a hash of counts, each named by user, model and what it counts;
`chorus:usage` lists owners and days by day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from chorus.storage.records import BILLIONTHS, USAGE_COLUMNS, Bounds, UsageColumn, UsageRow
from chorus.storage.redis import Hash, RedisServer, milliseconds, owned

_INDEX: Final = "chorus:usage"
_COUNTS: Final = ("requests", "calls", "prompt_tokens", "completion_tokens")
_AT_ONCE: Final = 100
"""Hashes read in one step, during which Redis does nothing else."""
_Place = tuple[str, str]
"""Owner and day."""
_Field = tuple[str, str, str]
"""User, model, and what is counted."""


class RedisUsage:
    """Counts in `redis`, for as long as `bounds` let."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._redis = redis
        self._bounds = bounds

    async def add(self, *rows: UsageRow) -> None:
        commands: list[tuple[Any, ...]] = []
        if self._bounds.max_age_secs is not None:
            first = datetime.now(UTC).date() - timedelta(seconds=self._bounds.max_age_secs, days=1)
            commands.append(("ZREMRANGEBYSCORE", _INDEX, "-inf", first.toordinal()))
        for row in rows:
            owner, user, model, day = row.key or "", row.user or "", row.model or "", row.day or ""
            key = _key(owner, day)
            counts = {name: getattr(row, name) for name in _COUNTS}
            for name, count in {**counts, "cost": round(row.cost * BILLIONTHS)}.items():
                commands.append(("HINCRBY", key, msgspec.json.encode((user, model, name)), count))
            commands.append(("ZADD", _INDEX, _number(day), msgspec.json.encode((owner, day))))
            if self._bounds.max_age_secs is not None:
                commands.append(("PEXPIRE", key, milliseconds(self._bounds)))
        await self._redis.together(list[Any], commands)

    async def query(
        self,
        owner: str | None,
        *,
        group_by: Collection[UsageColumn] = (),
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
    ) -> list[UsageRow]:
        days = (_number(start) if start else "-inf", _number(end) if end else "+inf")
        members = await self._redis.command(list[bytes], "ZRANGEBYSCORE", _INDEX, *days)
        places = [msgspec.json.decode(member, type=_Place) for member in members]
        places = [place for place in places if owner is None or place[0] == owner]
        names: list[str] = [column for column in USAGE_COLUMNS if column in group_by]
        sums: dict[tuple[str, ...], Counter[str]] = {}
        for begin in range(0, len(places), _AT_ONCE):
            if limit is not None and len(sums) >= limit:
                break
            some = places[begin : begin + _AT_ONCE]
            hashes = await self._redis.together(list[Hash], [("HGETALL", _key(*place)) for place in some])
            for (key, day), counts in zip(some, hashes, strict=True):
                for field, count in counts.items():
                    user, model, name = msgspec.json.decode(field, type=_Field)
                    values = {"key": key, "user": user, "model": model, "day": day}
                    group = tuple(values[column] for column in names)
                    sums.setdefault(group, Counter())[name] += int(count)
        return [_row(dict(zip(names, group, strict=True)), sums[group]) for group in sorted(sums)[:limit]]


def _key(owner: str, day: str) -> str:
    return owned(_INDEX, owner, day)


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _row(group: dict[str, str], counts: Counter[str]) -> UsageRow:
    return msgspec.convert({**group, **counts, "cost": counts["cost"] / BILLIONTHS}, UsageRow)
