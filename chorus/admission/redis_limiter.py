"""Accounts of rate limits in Redis, for several processes or machines (K1).

One script looks and charges, so it is one step for all of them; its clock is Redis's own.

While Redis is away each process keeps accounts of its own: a limit that is too wide for a while is
better than a server that is down with its Redis.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import Any, Final

import anyio
import structlog

from chorus.admission.limiter import Decision, MemoryLimiter, decision
from chorus.admission.meter import SLACK_SECS, Account
from chorus.admission.redis_client import ANSWER_SECS as _ANSWER_SECS
from chorus.admission.redis_client import AWAY_SECS as _AWAY_SECS
from chorus.admission.redis_client import connect
from chorus.tasks import surviving

_log = structlog.get_logger("chorus.admission")

_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local behind, fits = {}, true
for i, key in ipairs(KEYS) do
  local per, each, cost, amount = ARGV[4*i-3], ARGV[4*i-2], ARGV[4*i-1], ARGV[4*i]
  behind[i] = math.max((redis.call('GET', key) or 0) - now, 0)
  fits = fits and behind[i] + (math.min(cost, amount) - amount) * each <= SLACK
end
for i, key in ipairs(KEYS) do
  if fits then
    local owes = behind[i] + ARGV[4*i-2] * ARGV[4*i-1]
    redis.call('SET', key, string.format('%.6f', now + owes), 'PX', math.ceil(owes * 1000) + 1000)
  end
  behind[i] = string.format('%.6f', behind[i])
end
return behind
""".replace("SLACK", repr(SLACK_SECS))

_ADD: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i, key in ipairs(KEYS) do
  local owes = math.max((redis.call('GET', key) or 0) - now, 0) + ARGV[i]
  if owes > 0 then
    redis.call('SET', key, string.format('%.6f', now + owes), 'PX', math.ceil(owes * 1000) + 1000)
  else
    redis.call('DEL', key)
  end
end
"""


class RedisLimiter:
    """Accounts in the Redis at `url`."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError as `connect` does."""
        self._redis = connect(url, _ANSWER_SECS)
        self._take = self._redis.register_script(_TAKE)
        self._add = self._redis.register_script(_ADD)
        self._own = MemoryLimiter()
        self._away_until = 0.0

    async def take(self, accounts: Sequence[Account], costs: Sequence[int]) -> Decision:
        """See `Limiter.take`."""
        if not self._is_away():
            words: list[float] = []
            for account, cost in zip(accounts, costs, strict=True):
                words += (account.rate.per, account.rate.each, cost, account.rate.amount)
            behind = await self._asked(self._take(_names(accounts), words), len(accounts))
            if behind is not None:
                return decision(accounts, costs, behind, self)[0]
        return await self._own.take(accounts, costs)

    async def add(self, accounts: Sequence[Account], costs: Sequence[int]) -> None:
        """See `Limiter.add`.

        While Redis is away nothing is added: its accounts are paid off with time anyway.
        """
        if not self._is_away():
            secs = [cost * account.rate.each for account, cost in zip(accounts, costs, strict=True)]
            await self._asked(self._add(_names(accounts), secs), 0)

    async def aclose(self) -> None:
        """See `Limiter.aclose`."""
        with surviving("the connections to redis could not be closed"):
            await self._redis.aclose()

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _asked(self, asking: Awaitable[Any], count: int) -> list[float] | None:
        """Return the `count` numbers that Redis answers.

        None when it is away, or something else answers at its address.
        """
        try:
            # shielded: a charge whose answer nobody reads would never be given back
            with anyio.CancelScope(shield=True), anyio.fail_after(_ANSWER_SECS):
                numbers = [float(secs) for secs in await asking or ()]
            if len(numbers) != count:
                raise ValueError("not the answer of our script")
        except Exception as problem:
            now = time.monotonic()
            self._away_until = now + _AWAY_SECS
            _log.warning(
                "redis is away; each process limits for itself",
                problem=type(problem).__name__,
                again_in_secs=_AWAY_SECS,
            )
            return None
        return numbers


def _names(accounts: Sequence[Account]) -> list[str]:
    """Keys of Redis.

    The braces put all of them on one node of a cluster: a script may touch no other.
    """
    return [f"{{chorus:limits}}:{account.name}" for account in accounts]
