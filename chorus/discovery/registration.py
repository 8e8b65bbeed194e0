"""An inference worker in Consul: registered while it serves, again if the agent forgot it (I4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

import anyio
import structlog

from chorus.discovery.agent import Agent
from chorus.discovery.consul import open_consul
from chorus.discovery.source import Pauses, SourceError

LOOK_SECS: Final = 5.0
"""How often the agent is asked whether it knows the service: after a restart it does not."""
_LEAVE_SECS: Final = 3.0
"""What deregistering may take while the worker stops."""

_log = structlog.get_logger("chorus.discovery")


@dataclass(frozen=True, slots=True)
class Registration:
    """One instance of a service, as Consul gets it. Times are in seconds."""

    model: str
    """The name of the model: `meta.model`, and what the gRPC health check asks about."""
    host: str
    """Where others reach the instance."""
    port: int
    service: str | None = None
    """None: `llm-` and the name of the model."""
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)
    check: Literal["grpc", "ttl"] = "grpc"
    """Who checks the instance: the agent over gRPC, or the instance itself (`ttl`)."""
    tls: bool = False
    interval_secs: float = 5.0
    timeout_secs: float = 2.0
    deregister_after_secs: float = 60.0
    """After so long a time of failed checks the agent forgets it.

    Consul takes nothing below a minute.
    """

    @property
    def name(self) -> str:
        """The name of the service."""
        return self.service or f"llm-{self.model}"

    @property
    def service_id(self) -> str:
        """The id of this instance at its agent."""
        return f"{self.name}-{self.host}-{self.port}"

    @property
    def check_id(self) -> str:
        """The id that an agent gives the only check of a service."""
        return f"service:{self.service_id}"

    def body(self) -> dict[str, Any]:
        """Return what registers it.

        The check passes at once: the worker serves before it registers, and an agent makes its
        first check within an interval only.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        check: dict[str, Any] = {
            "Status": "passing",
            "DeregisterCriticalServiceAfter": f"{self.deregister_after_secs:g}s",
        }
        if self.check == "ttl":
            check["TTL"] = f"{3 * self.interval_secs:g}s"
        else:
            check |= {
                "GRPC": f"{host}:{self.port}/{self.model}",
                "GRPCUseTLS": self.tls,
                "Interval": f"{self.interval_secs:g}s",
                "Timeout": f"{self.timeout_secs:g}s",
            }
        return {
            "ID": self.service_id,
            "Name": self.name,
            "Address": self.host,
            "Port": self.port,
            "Tags": list(self.tags),
            "Meta": {**self.meta, "model": self.model},
            "Check": check,
        }


class Registered:
    """A registration that is kept."""

    def __init__(self, agent: Agent, registration: Registration, look_secs: float) -> None:
        self._agent = agent
        self._registration = registration
        self._look_secs = look_secs
        self._keeping = anyio.CancelScope()
        self._has_left = False
        self.known = anyio.Event()
        """Set when the agent has taken the registration for the first time."""

    async def keep(self) -> None:
        """Register, and again whenever the agent has forgotten it, until `leave`."""
        pauses, complaint = Pauses(Random()), ""
        with self._keeping:
            while True:
                try:
                    await self._keep_once(pauses)
                    complaint = ""
                except SourceError as error:
                    if str(error) != complaint:
                        complaint = str(error)
                        _log.warning(
                            "the worker is not registered, and tries again",
                            service=self._registration.service_id,
                            reason=complaint,
                        )
                    await anyio.sleep(pauses.secs())

    async def _keep_once(self, pauses: Pauses) -> None:
        """Register, and return when the agent does not know it any more. Raises SourceError."""
        mine = self._registration
        async with open_consul(self._agent) as consul:
            await consul.register(mine.body())
            _log.info("the worker is registered", service=mine.service_id, agent=self._agent.address)
            pauses.reset()
            self.known.set()
            is_known = True
            while is_known:
                await anyio.sleep(self._look_secs)
                if mine.check == "ttl":
                    is_known = await consul.passes(mine.check_id)
                else:
                    is_known = await consul.knows(mine.service_id)
        _log.warning("the agent has forgotten the worker, which registers again", service=mine.service_id)

    async def leave(self) -> None:
        """Deregister; nothing happens the second time. It takes 3 s at most, and raises nothing but
        cancellations: an agent that is away forgets the instance by its failing check."""
        if self._has_left:
            return
        self._has_left = True
        self._keeping.cancel()
        with anyio.move_on_after(_LEAVE_SECS, shield=True):
            try:
                async with open_consul(self._agent) as consul:
                    await consul.deregister(self._registration.service_id)
                _log.info("the worker is deregistered", service=self._registration.service_id)
            except SourceError as error:
                _log.warning("the worker could not be deregistered", reason=str(error))


@asynccontextmanager
async def registered(
    agent: Agent, registration: Registration, *, look_secs: float = LOOK_SECS
) -> AsyncIterator[Registered]:
    """Keep `registration` at `agent` while the block runs.

    It happens in the background: nothing waits for an agent that is away. Leaving the block
    deregisters; `Registered.leave` does so earlier, before calls in flight are waited for.
    """
    kept = Registered(agent, registration, look_secs)
    async with anyio.create_task_group() as group:
        group.start_soon(kept.keep)
        try:
            yield kept
        finally:
            await kept.leave()
