"""What processes tell each other for `/metrics` (O2, K5). That their counts are summed, real processes show
(tests/faults/test_processes.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import values

from chorus.telemetry.metrics import Metrics
from chorus.telemetry.shared import ReplicaState, SharedMetrics, forget

pytestmark = [pytest.mark.requirement("O2"), pytest.mark.requirement("K5")]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedMetrics:
    """That of worker 0, in a process that forgets it afterwards."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    return SharedMetrics(tmp_path, 0)


def test_calls_and_waiting_are_summed_and_the_worst_breaker_counts(shared: SharedMetrics, tmp_path: Path) -> None:
    other = SharedMetrics(tmp_path, 1)
    other.publish([ReplicaState("glm", "a", 2, 3), ReplicaState("new", "b", 0, 1)], [("glm", 4), ("", 1)])
    own_replicas = [ReplicaState("glm", "a", 1, 5)]
    own_queues = [("glm", 2), ("kimi", 0)]
    shared.publish(
        [ReplicaState("glm", "a", 0, 100)], [("glm", 100)]
    )  # what it said of itself is older than what it knows
    assert shared.replicas(lambda: own_replicas) == [ReplicaState("glm", "a", 2, 8), ReplicaState("new", "b", 0, 1)]
    assert shared.queues(lambda: own_queues) == [("glm", 6), ("kimi", 0), ("", 1)]
    forget(tmp_path, 1)
    assert shared.replicas(lambda: own_replicas) == own_replicas
    assert shared.queues(lambda: own_queues) == own_queues


def test_the_page_has_the_same_names_and_helps_in_both_modes(shared: SharedMetrics) -> None:
    def page(metrics: Metrics) -> list[str]:
        metrics.waited("glm", 0.2)
        metrics.request("GET", "/health", 200, 0.01)
        metrics.rate_limited("server", "requests")
        return metrics.page().decode().splitlines()

    several = page(Metrics(lambda: [ReplicaState("glm", "a", 1, 5)], lambda: [("glm", 2)], shared))
    monkeyed, values.ValueClass = values.ValueClass, values.MutexValue
    one = page(Metrics(lambda: [ReplicaState("glm", "a", 1, 5)], lambda: [("glm", 2)]))
    values.ValueClass = monkeyed
    assert [line for line in several if line.startswith("#")] == [line for line in one if line.startswith("#")]
    assert sorted(several) == sorted(one)


def test_a_replacement_counts_on_where_its_predecessor_stopped(shared: SharedMetrics, tmp_path: Path) -> None:
    def counted(metrics: Metrics) -> bytes:
        return next(line for line in metrics.page().splitlines() if line.startswith(b"rate_limited_total{"))

    first = Metrics(list, list, shared)
    first.rate_limited("server", "requests")
    files = sorted(tmp_path.iterdir())
    second = Metrics(list, list, SharedMetrics(tmp_path, 0))
    assert counted(second).endswith(b" 1.0")
    second.rate_limited("server", "requests")
    assert counted(second).endswith(b" 2.0")
    assert sorted(tmp_path.iterdir()) == files
