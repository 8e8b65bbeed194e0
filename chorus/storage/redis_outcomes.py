"""Outcomes of runs in Redis, with the sums of their credits. See `outcomes.Outcomes`.

`chorus:outcomes:<run>` is a hash with a field for each source. `chorus:tallies:<workflow>` is a
hash of counts, each named by task type, worker, bucket and what it counts; `chorus:tallies` has the
names of the workflows. `chorus:tallies:resets` says when the counts of each were forgotten: what
was added before is not taken away after.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from chorus.storage.records import CREDIT_COUNTS, MILLIONTHS, Bounds, Credit, Outcome, in_millionths
from chorus.storage.redis import Hash, RedisServer, milliseconds

_WORKFLOWS: Final = "chorus:tallies"
_RESETS: Final = "chorus:tallies:resets"
_Field = tuple[str, str, int, str]
"""Task type, worker, bucket, and what is counted."""

_PUT: Final = """
local kept, sums, workflows, resets = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local source, at, now, workflow, text, ttl, sums_ttl = unpack(ARGV)
local before = redis.call('HGET', kept, source)
if before then
  local old = cjson.decode(before)
  if tonumber(old.at) > tonumber(at) then return 0 end
  local reset = redis.call('HGET', resets, workflow)
  if not reset or tonumber(old.added_at) > tonumber(reset) then
    for _, change in ipairs(old.changes) do
      if redis.call('HEXISTS', sums, change[1]) == 1
        and redis.call('HINCRBY', sums, change[1], '-' .. change[2]) == 0 then
        redis.call('HDEL', sums, change[1])
      end
    end
  end
end
for _, change in ipairs(cjson.decode(text).changes) do
  redis.call('HINCRBY', sums, change[1], change[2])
end
redis.call('HSET', kept, source, text)
redis.call('SADD', workflows, workflow)
if ttl ~= '0' then redis.call('PEXPIRE', kept, ttl) end
if sums_ttl ~= '0' then redis.call('PEXPIRE', sums, sums_ttl) end
return 1
"""
"""ARGV: source, when it was said and when it is added, workflow, the text of a `_Kept`, TTL of the
outcome and of the sums in ms. Counts are never negative, so that a minus before them is a number.
"""


class _Kept(msgspec.Struct):
    """A field of `chorus:outcomes:<run>`. Numbers that Lua would round are texts."""

    at: str
    added_at: str
    outcome: Outcome
    changes: list[tuple[str, str]]
    """Fields of the sums, with what was added to each."""


class RedisOutcomes:
    """Outcomes in `redis`, for as long as `bounds` let, and sums for as long as `tallies` let."""

    def __init__(self, redis: RedisServer, bounds: Bounds, tallies: Bounds) -> None:
        self._redis = redis
        self._tallies = tallies
        self._ttl = milliseconds(bounds)
        self._sums_ttl = milliseconds(tallies)
        self._put = redis.script(_PUT, int)

    async def put(self, outcome: Outcome) -> None:
        changes = [
            (_field(credit, name), str(count))
            for credit in outcome.credits
            for name, count in zip(CREDIT_COUNTS, in_millionths(credit), strict=True)
            if count
        ]
        now = f"{time.time():.6f}"
        short = msgspec.structs.replace(outcome, credits=())
        text = msgspec.json.encode(_Kept(f"{outcome.at:.6f}", now, short, changes))
        keys = [_outcomes(outcome.run), _sums(outcome.workflow), _WORKFLOWS, _RESETS]
        words = (outcome.source, f"{outcome.at:.6f}", now, outcome.workflow, text, self._ttl, self._sums_ttl)
        await self._put(keys, words)

    async def get(self, run: str) -> list[Outcome]:
        fields = await self._redis.command(Hash, "HGETALL", _outcomes(run))
        kept = [msgspec.json.decode(text, type=_Kept).outcome for text in fields.values()]
        return sorted(kept, key=lambda outcome: outcome.at)

    async def query(self, workflow: str, since: int) -> list[Credit]:
        fields = await self._redis.command(Hash, "HGETALL", _sums(workflow))
        too_old = 0.0 if self._tallies.max_age_secs is None else time.time() - self._tallies.max_age_secs
        sums: dict[tuple[str, str, int], dict[str, float]] = {}
        gone: list[bytes] = []
        for field, count in fields.items():
            task_type, worker, bucket, name = msgspec.json.decode(field, type=_Field)
            if bucket < too_old:
                gone.append(field)
            elif bucket >= since:
                sums.setdefault((task_type, worker, bucket), {})[name] = int(count) / MILLIONTHS
        if gone:
            await self._redis.command(Any, "HDEL", _sums(workflow), *gone)
        return [Credit(*place, *(sums[place].get(name, 0.0) for name in CREDIT_COUNTS)) for place in sorted(sums)]

    async def reset(self, workflow: str | None) -> None:
        names = [workflow.encode()] if workflow is not None else []
        if workflow is None:
            names = await self._redis.command(list[bytes], "SMEMBERS", _WORKFLOWS)
        now = f"{time.time():.6f}"
        commands: list[tuple[Any, ...]] = []
        for name in names:
            commands += [("DEL", _sums(name.decode())), ("HSET", _RESETS, name, now), ("SREM", _WORKFLOWS, name)]
        if commands:
            await self._redis.together(list[Any], commands)


def _outcomes(run: str) -> str:
    return f"chorus:outcomes:{run}"


def _sums(workflow: str) -> str:
    return f"chorus:tallies:{workflow}"


def _field(credit: Credit, name: str) -> str:
    return msgspec.json.encode((credit.task_type, credit.worker, credit.bucket, name)).decode()
