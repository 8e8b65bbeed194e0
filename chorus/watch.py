"""What a server watches of its models: health, and numbers for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import anyio

from chorus.admission.admission import Admission
from chorus.discovered import Discovered
from chorus.llm.pool.health import Health
from chorus.snapshot import Snapshot
from chorus.tasks import ServerTasks
from chorus.telemetry.shared import DiscoveryState, ReplicaState

_BREAKER_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class Watches:
    """Watches the models of one server, in tasks of the server: health checks and discovery."""

    def __init__(self, tasks: ServerTasks, changed: Callable[[], None]) -> None:
        """`changed` is called when discovery has given a model other replicas."""
        self._health_checks = HealthChecks(tasks)
        self._discoveries = Discoveries(tasks, self._replicas_changed)
        self._changed = changed
        self._snapshot: Snapshot | None = None

    def follow(self, snapshot: Snapshot) -> None:
        """Watch the models of `snapshot` from now on, and no longer those of an earlier one.
        Nothing is watched while the server's tasks are closed."""
        self._snapshot = snapshot
        self._health_checks.follow(snapshot)
        self._discoveries.follow(snapshot)

    def _replicas_changed(self) -> None:
        if self._snapshot is not None:
            self._health_checks.follow(self._snapshot)
        self._changed()


class HealthChecks:
    """The health checks of one server's replicas (D4), which go on as tasks of the server."""

    def __init__(self, tasks: ServerTasks) -> None:
        self._tasks = tasks
        self._running: dict[Health, anyio.CancelScope] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Check the replicas of `snapshot` from now on, and no longer those of an earlier one.
        Nothing is checked while the server's tasks are closed."""
        if not self._tasks.is_open:
            return
        replicas = [replica for model in snapshot.models.values() for replica in model.pool.replicas]
        watched = {replica.health for replica in replicas if replica.health is not None}
        for health in self._running.keys() - watched:
            self._running.pop(health).cancel()
        for health in watched - self._running.keys():
            self._running[health] = self._tasks.start(health.watch, Random())


class Discoveries:
    """Who follows the sources of one server's models (D2), as tasks of the server."""

    def __init__(self, tasks: ServerTasks, changed: Callable[[], None]) -> None:
        """`changed` is called when the replicas of a model are others."""
        self._tasks = tasks
        self._changed = changed
        self._running: dict[Discovered, anyio.CancelScope] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Follow the sources of `snapshot` from now on, and no others.

        None is followed while the server's tasks are closed.
        """
        if not self._tasks.is_open:
            return
        wanted = {model.discovered for model in snapshot.models.values() if model.discovered is not None}
        for discovered in self._running.keys() - wanted:
            self._running.pop(discovered).cancel()
        for discovered in wanted - self._running.keys():
            self._running[discovered] = self._tasks.start(discovered.follow, self._changed)


def replica_states(snapshot: Snapshot) -> Iterator[ReplicaState]:
    """Return the state of every replica at this moment."""
    now = anyio.current_time()
    for model in snapshot.models.values():
        for replica in model.pool.replicas:
            state = _BREAKER_STATES[replica.breaker.state(now)]
            yield ReplicaState(model.name, replica.instance_id, state, replica.in_flight)


def discovery_states(snapshot: Snapshot) -> Iterator[DiscoveryState]:
    """Return what discovery knows of each model whose replicas it finds."""
    now = anyio.current_time()
    for model in snapshot.models.values():
        if (discovered := model.discovered) is not None:
            at = discovered.status.updated_at
            age = now - at if at is not None else None
            yield DiscoveryState(model.name, len(discovered.instances), age, discovered.status.errors)


def queue_lengths(snapshot: Snapshot, admission: Admission) -> Iterator[tuple[str, int]]:
    """Return the queue length of each model that has one, and of the server (named "")."""
    for model in snapshot.models.values():
        if model.gate is not None:
            yield model.name, model.gate.waiting
    if (waiting := admission.waiting) is not None:
        yield "", waiting
