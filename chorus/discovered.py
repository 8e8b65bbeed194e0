"""The replicas of one model as a source of addresses says: followed in the background (D2).

No request waits for the source. The last list is kept while the source is away, and for a time of
grace where it says that there is no instance at all.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from chorus.discovery.instance import Instance
from chorus.discovery.source import Source, Status
from chorus.errors import ConfigError
from chorus.llm.address import ReplicaAddress
from chorus.llm.pool.pool import Pool
from chorus.tasks import surviving

_LOGGED: Final = 20
"""Addresses that a line of the log names."""

Release = Callable[[str], Coroutine[Any, Any, None]]

_log = structlog.get_logger("chorus.discovery")


class Discovered:
    """What one source says of one model."""

    def __init__(
        self,
        model: str,
        kind: str,
        source: Source,
        pool: Pool,
        template: str,
        key: str | None,
        grace_secs: float,
        release: Release,
    ) -> None:
        """The replicas of `pool` become those at the `template` of each instance, with `key`.
        `release` closes what leads to an address that is gone, when its calls have ended."""
        self.model = model
        self.kind = kind
        self.source = source
        self.status = Status(model)
        self.instances: tuple[Instance, ...] = ()
        self._pool = pool
        self._template = template
        self._key = key
        self._grace_secs = grace_secs
        self._release = release
        self._group: TaskGroup | None = None
        pool.why_none = self._why_none

    def begin_with(self, instances: tuple[Instance, ...]) -> None:
        """Have `instances` until the source answers."""
        if instances:
            self._take(instances)

    async def follow(self, changed: Callable[[], None]) -> None:
        """Follow the source, for ever; `changed` is called when the replicas are others."""
        async with anyio.create_task_group() as group:
            self._group = group
            emptying: anyio.CancelScope | None = None
            async with aclosing(self.source.watch(self.status)) as answers:  # type: ignore[type-var]
                async for instances in answers:
                    if emptying is not None:
                        emptying.cancel()
                        emptying = None
                    if instances or not self.instances:
                        self._replace(instances, changed)
                    else:
                        _log.warning(
                            "discovery finds no instance; the last list is kept for a while",
                            model=self.model,
                            secs=self._grace_secs,
                        )
                        emptying = anyio.CancelScope()
                        group.start_soon(self._empty, emptying, changed)

    async def _empty(self, scope: anyio.CancelScope, changed: Callable[[], None]) -> None:
        """Remove all replicas after the grace time, if the source still reports none."""
        with scope:
            await anyio.sleep(self._grace_secs)
            await self.status.until_answering()
            self._replace((), changed)

    def _replace(self, instances: tuple[Instance, ...], changed: Callable[[], None]) -> None:
        before = {self._address(instance) for instance in self.instances}
        with surviving("a list of discovered instances could not be used"):
            if not self._take(instances):
                return
            after = {self._address(instance) for instance in instances}
            _log.info(
                "discovery has changed the replicas",
                model=self.model,
                instances=len(after),
                added=sorted(after - before)[:_LOGGED],
                removed=sorted(before - after)[:_LOGGED],
            )
            changed()
            if self._group is not None:
                for address in before - after:
                    self._group.start_soon(self._release, address)

    def _take(self, instances: tuple[Instance, ...]) -> bool:
        """Give the pool `instances`; False where they cannot be used."""
        try:
            self._pool.update(
                [ReplicaAddress(self._address(instance), self._key, instance.weight) for instance in instances]
            )
        except ConfigError as error:
            _log.warning("discovery finds addresses that cannot be used", model=self.model, reason=str(error))
            return False
        self.instances = instances
        return True

    def _address(self, instance: Instance) -> str:
        return instance.address(self._template)

    def _why_none(self) -> str:
        """Return why there is no replica, for who asks for the model."""
        if self.status.problem is not None:
            return f"No instance of '{self.model}' is known: {self.status.problem}"
        if self.status.updated_at is None:
            return f"No instance of '{self.model}' is known yet: discovery has not answered"
        return f"No instance of '{self.model}' is known: discovery finds none ({self.source.description})"

    def as_json(self, now: float) -> dict[str, Any]:
        """This model's discovery as `GET /api/v1/upstreams` shows it (D4)."""
        at = self.status.updated_at
        return {
            "type": self.kind,
            "source": self.source.description,
            "instances": len(self.instances),
            "updated_secs_ago": round(now - at, 1) if at is not None else None,
            "errors": self.status.errors,
            "problem": self.status.problem,
        }
