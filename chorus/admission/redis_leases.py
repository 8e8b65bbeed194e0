"""Slots that several processes share, as leases in Redis (K2).

A lease is a member of a sorted set, with the time of its end by Redis's own clock. Its holder
renews it; that of a process that was killed ends by itself, LEASE_SECS later. While Redis is away
every process goes on with the slots of its own gate: too many calls for a while are better than
none.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import anyio
import structlog

from chorus.admission.redis_client import ANSWER_SECS, AWAY_SECS, connect
from chorus.tasks import ServerTasks, surviving

_log = structlog.get_logger("chorus.admission")

LEASE_SECS: Final = 10.0
"""How long a slot stays taken whose holder was killed."""
NO_LEASE: Final = ""
"""The lease of a slot that was taken while Redis was away."""

_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] * 1000) + 1000)
return 1
"""
_RENEW: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[1] * 1000) + 1000)
return 1
"""


class RedisLeases:
    """The leases of one process in the Redis at `url`. Renewals and returns are `tasks`: without a
    server that runs, a lease is not renewed, and ends by itself."""

    def __init__(self, url: str, tasks: ServerTasks, *, lease_secs: float = LEASE_SECS) -> None:
        """Raises ConfigError as `connect` does."""
        self._redis = connect(url, ANSWER_SECS)
        self._tasks = tasks
        self._secs = lease_secs
        self._take = self._redis.register_script(_TAKE)
        self._renew = self._redis.register_script(_RENEW)
        self._held: dict[str, set[str]] = {}
        """The leases of this process by the names of their slots."""
        self._is_renewing = False
        self._away_until = 0.0

    async def take(self, name: str, slots: int) -> str | None:
        """Take one of the `slots` of this name and return its lease.

        None where no slot is free; NO_LEASE where Redis is away.
        """
        if time.monotonic() < self._away_until:
            return NO_LEASE
        lease = secrets.token_hex(12)
        taken = await self._asked(self._take([_key(name)], [slots, lease, self._secs]))
        if taken is None:
            return NO_LEASE
        if not taken:
            return None
        self._held.setdefault(name, set()).add(lease)
        if not self._is_renewing and self._tasks.is_open:
            self._is_renewing = True
            self._tasks.start(self._keep)
        return lease

    def give_back(self, name: str, lease: str) -> None:
        """Give a lease back in the background: waiting calls ask again within a moment anyway."""
        if lease == NO_LEASE:
            return
        leases = self._held[name]
        leases.discard(lease)
        if not leases:
            del self._held[name]
        if self._tasks.is_open:
            self._tasks.start(self._return, name, lease)

    async def aclose(self) -> None:
        """Close the connections."""
        with surviving("the connections to redis could not be closed"):
            await self._redis.aclose()

    async def _return(self, name: str, lease: str) -> None:
        if time.monotonic() >= self._away_until:
            await self._asked(self._redis.zrem(_key(name), lease))

    async def _keep(self) -> None:
        """Renew what is held, until nothing is."""
        try:
            while self._held:
                await anyio.sleep(self._secs / 4)
                for name, leases in self._copy().items():
                    await self._asked(self._renew([_key(name)], [self._secs, *leases]))
        finally:
            self._is_renewing = False

    def _copy(self) -> Mapping[str, list[str]]:
        return {name: list(leases) for name, leases in self._held.items()}

    async def _asked(self, asking: Awaitable[Any]) -> int | None:
        """Return what Redis answers; None where it is away."""
        try:
            # shielded: a lease whose answer nobody reads would be held for nothing
            with anyio.CancelScope(shield=True), anyio.fail_after(ANSWER_SECS):
                answer = int(await asking)
        except Exception as problem:
            was_there = time.monotonic() >= self._away_until
            self._away_until = time.monotonic() + AWAY_SECS
            if was_there:  # and not one line for each of those that asked at the same time
                _log.warning(
                    "redis is away; each process counts its slots for itself",
                    problem=type(problem).__name__,
                    again_in_secs=AWAY_SECS,
                )
            return None
        return answer


def _key(name: str) -> str:
    return f"{{chorus:slots}}:{name}"
