"""Metrics of several processes on one page (O2): what each has counted is summed, how each does is
put together.

Counters and histograms are prometheus_client's: files in memory that every process reads at a
scrape. They go by the worker's number, not by its process id: a process that takes the place of a
dead one counts on where that stopped, so that no sum falls and files do not pile up. What a process
is asked for only at a scrape, each writes down for the others now and then.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chorus.tasks import surviving

_log = structlog.get_logger("chorus.metrics")


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica in a scrape: `breaker` is 0 closed, 1 half-open, 2 open."""

    model: str
    instance_id: str
    breaker: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """What discovery knows of one model in a scrape: `age_secs` since its last answer; None before
    the first."""

    model: str
    instances: int
    age_secs: float | None
    errors: int


Replicas = Callable[[], Iterable[ReplicaState]]
Discoveries = Callable[[], Iterable[DiscoveryState]]
Queues = Callable[[], Iterable[tuple[str, int]]]


class _WorkerState(msgspec.Struct):
    """The state that one process publishes to the others."""

    replicas: list[ReplicaState]
    queues: list[tuple[str, int]]
    discoveries: list[DiscoveryState] = []


class SharedMetrics:
    """The part of one process in the metrics of several. To be made before the metrics themselves,
    once in a process."""

    def __init__(self, folder: Path, worker: int) -> None:
        """`folder` is shared by all, and made anew where it was removed; `worker` is a
        number that no other process has at the same time.

        Raises:
            OSError: there is no folder, and none can be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._path = _state_path(folder, worker)
        self._last = b""
        self._complaint = ""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # read whenever a metric is made
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]

    def counting(self, page: CollectorRegistry) -> CollectorRegistry:
        """Return a registry for metrics of which `page` gets the sums over all processes."""
        registry = CollectorRegistry()
        page.register(_Sums(registry, self._folder))
        return registry

    def publish(
        self,
        replicas: Iterable[ReplicaState],
        queues: Iterable[tuple[str, int]],
        discoveries: Iterable[DiscoveryState] = (),
    ) -> None:
        """Let the others know how this process does."""
        state = msgspec.json.encode(_WorkerState(list(replicas), list(queues), list(discoveries)))
        if state == self._last and self._path.exists():
            return
        draft = self._path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(state)
            draft.replace(self._path)
        except OSError as error:
            if str(error) != self._complaint:  # once, not every second
                self._complaint = str(error)
                _log.warning("the other workers' metrics miss this one", error=str(error))
        else:
            self._last, self._complaint = state, ""

    def replicas(self, own: Replicas) -> list[ReplicaState]:
        """Return every replica: calls in flight of all processes, and the worst that one of them
        knows of its breaker.
        """
        merged: dict[tuple[str, str], ReplicaState] = {}
        for state in [*own(), *(state for other in self._others() for state in other.replicas)]:
            known = merged.setdefault((state.model, state.instance_id), replace(state, in_flight=0))
            merged[state.model, state.instance_id] = replace(
                state, breaker=max(known.breaker, state.breaker), in_flight=known.in_flight + state.in_flight
            )
        return list(merged.values())

    def queues(self, own: Queues) -> list[tuple[str, int]]:
        """Return how many wait for each model, in all processes."""
        waiting: Counter[str] = Counter()
        for model, number in [*own(), *(queue for other in self._others() for queue in other.queues)]:
            waiting[model] += number
        return list(waiting.items())

    def discoveries(self, own: Discoveries) -> list[DiscoveryState]:
        """Return what discovery knows of each model: the shortest list, the oldest answer, the sum
        of the errors.
        """
        merged: dict[str, DiscoveryState] = {}
        for state in [*own(), *(state for other in self._others() for state in other.discoveries)]:
            known = merged.get(state.model)
            if known is not None:
                ages = (known.age_secs, state.age_secs)
                state = DiscoveryState(
                    state.model,
                    min(known.instances, state.instances),
                    None if None in ages else max(age for age in ages if age is not None),
                    known.errors + state.errors,
                )
            merged[state.model] = state
        return list(merged.values())

    def _others(self) -> list[_WorkerState]:
        states = []
        for path in self._folder.glob("*.json"):
            if path != self._path:
                try:
                    states.append(msgspec.json.decode(path.read_bytes(), type=_WorkerState))
                except (OSError, msgspec.DecodeError):
                    continue  # it has just died, or another program wrote there
        return states


def forget(folder: Path, worker: int) -> None:
    """Forget the state of the process of this number, which has ended: what it counted stays, how
    it did is of no interest any more. Raises nothing: a folder that was removed must not
    keep the next process from starting."""
    try:
        _state_path(folder, worker).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the metrics still hold a worker that has ended", worker=worker, error=str(error))


def _state_path(folder: Path, worker: int) -> Path:
    return folder / f"worker-{worker}.json"


class _Sums(Collector):
    """The metrics of `registry`, each with the sums over all processes; those without a count yet
    are empty."""

    def __init__(self, registry: CollectorRegistry, folder: Path) -> None:
        self._registry = registry
        self._summed = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        sums: dict[str, Metric] = {}
        with surviving("the metrics of all workers could not be summed; these are one worker's"):
            sums = {metric.name: metric for metric in self._summed.collect()}  # type: ignore[no-untyped-call]
        for metric in self._registry.collect():
            yield sums.get(metric.name, metric)
