"""What a server watches of its models while it serves: their health, and numbers for the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

import anyio

from chorus.admission.admission import Admission
from chorus.snapshot import Snapshot
from chorus.tasks import ServerTasks
from chorus.telemetry.shared import ReplicaState

_BREAKER_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class HealthChecks:
    """The health checks of one server's replicas (D4), which go on as tasks of the server."""

    def __init__(self, tasks: ServerTasks) -> None:
        self._tasks = tasks
        self._running: list[anyio.CancelScope] = []

    def follow(self, snapshot: Snapshot) -> None:
        """Check the replicas of `snapshot` from now on, and no longer those of an earlier one.
        Nothing is checked while the server's tasks are closed."""
        if not self._tasks.is_open:
            return
        for scope in self._running:
            scope.cancel()
        replicas = [replica for model in snapshot.models.values() for replica in model.pool.replicas]
        watched = [replica.health for replica in replicas if replica.health is not None]
        self._running = [self._tasks.start(health.watch, Random()) for health in watched]


def replica_states(snapshot: Snapshot) -> Iterator[ReplicaState]:
    """Return the state of every replica at this moment."""
    now = anyio.current_time()
    for model in snapshot.models.values():
        for replica in model.pool.replicas:
            state = _BREAKER_STATES[replica.breaker.state(now)]
            yield ReplicaState(model.name, replica.instance_id, state, replica.in_flight)


def queue_lengths(snapshot: Snapshot, admission: Admission) -> Iterator[tuple[str, int]]:
    """Return how many wait for each model that has a queue, and for the server itself (named "")."""
    for model in snapshot.models.values():
        if model.gate is not None:
            yield model.name, model.gate.waiting
    if (waiting := admission.waiting) is not None:
        yield "", waiting
