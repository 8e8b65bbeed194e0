"""The passing instances of a service in Consul, followed by blocking queries (D2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Final

import anyio

from chorus.discovery.agent import Agent
from chorus.discovery.consul import open_consul
from chorus.discovery.instance import Instance
from chorus.discovery.source import Pauses, SourceError, Status

_BURST: Final = 2.0
_REFILL_SECS: Final = 15.0
_COST_OF_CHANGE: Final = 0.1
"""Answers with a change are worth asking often: 20 in a burst, then one each 1.5 s."""


class Bucket:
    """How soon an agent is asked again, as a bucket of tokens.

    After two answers at once and without a change, an agent that goes on so is asked every 15 s.
    """

    def __init__(self, now: float) -> None:
        self._tokens = _BURST
        self._at = now

    def secs(self, now: float, *, changed: bool) -> float:
        """Take what an answer costs; return the seconds until the next question."""
        self._tokens = min(_BURST, self._tokens + (now - self._at) / _REFILL_SECS)
        self._at = now
        cost = _COST_OF_CHANGE if changed else 1.0
        secs = max(0.0, cost - self._tokens) * _REFILL_SECS
        self._tokens -= cost
        return secs


def next_index(asked: int, answered: int) -> int:
    """Return the index of the next query after an answer.

    It begins again where the agent's index went backwards, and is never below 1, which would not
    wait.
    """
    return 0 if answered < asked else max(1, answered)


class ConsulSource:
    """One service of one agent."""

    def __init__(
        self, agent: Agent, service: str, *, tag: str | None = None, wait_secs: float = 60.0, rng: Random | None = None
    ) -> None:
        self._agent = agent
        self._service = service
        self._tag = tag
        self._wait_secs = wait_secs
        self._rng = rng
        self.description = f"consul service {service} at {agent.address}"

    async def watch(self, status: Status) -> AsyncIterator[tuple[Instance, ...]]:
        """See `Source.watch`."""
        pauses = Pauses(self._rng)
        bucket = Bucket(anyio.current_time())
        known: tuple[Instance, ...] | None = None
        while True:
            index = 0
            try:
                async with open_consul(self._agent) as consul:
                    while True:
                        answered, instances = await consul.instances(
                            self._service, tag=self._tag, index=index, wait_secs=self._wait_secs
                        )
                        pauses.reset()
                        status.answered()
                        has_changed, known = instances != known, instances
                        if has_changed:
                            yield instances
                        index = next_index(index, answered)
                        await anyio.sleep(bucket.secs(anyio.current_time(), changed=has_changed))
            except SourceError as error:
                status.failed(error)
            # an agent that comes back may count from a lower index: waiting for the old one's next
            # is waiting in vain
            await anyio.sleep(pauses.secs())

    async def look(self) -> tuple[Instance, ...]:
        """See `Source.look`."""
        async with open_consul(self._agent) as consul:
            return (await consul.instances(self._service, tag=self._tag))[1]
