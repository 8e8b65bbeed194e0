"""What processes tell each other for `/metrics` (O2, K5).

That their counts are summed, real processes show (tests/faults/test_processes.py).
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from prometheus_client import values
from structlog.testing import capture_logs

from chorus.telemetry.metrics import Metrics
from chorus.telemetry.shared import DiscoveryState, ReplicaState, SharedMetrics, forget

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


def test_of_discovery_the_worst_that_a_process_knows_is_shown(shared: SharedMetrics, tmp_path: Path) -> None:
    other = SharedMetrics(tmp_path, 1)
    other.publish([], [], [DiscoveryState("glm", 2, 9.0, 4), DiscoveryState("kimi", 1, None, 0)])
    own = [DiscoveryState("glm", 3, 1.0, 1), DiscoveryState("kimi", 1, 2.0, 0)]
    page = Metrics(list, list, shared, lambda: own).page().decode()
    assert 'discovery_instances{model="glm"} 2.0' in page
    assert 'discovery_age_seconds{model="glm"} 9.0' in page
    assert 'discovery_errors_total{model="glm"} 5.0' in page
    assert 'discovery_age_seconds{model="kimi"}' not in page


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


def test_a_folder_that_somebody_removed_is_made_again(shared: SharedMetrics, tmp_path: Path) -> None:
    own = [ReplicaState("glm", "a", 0, 1)]
    shared.publish(own, [])
    shutil.rmtree(tmp_path)
    forget(tmp_path, 1)  # the parent, when a worker has died
    shared.publish(own, [])
    other = SharedMetrics(tmp_path, 1)
    assert other.replicas(list) == own
    shutil.rmtree(tmp_path)
    replacement = SharedMetrics(tmp_path, 1)
    page = Metrics(list, list, replacement).page()
    assert b"chorus_runs_total" in page


def test_what_stands_in_the_way_of_metrics_is_logged_once_and_raises_nothing(
    shared: SharedMetrics, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.write_text("no folder")
    with capture_logs() as logs:
        for calls in range(3):
            shared.publish([ReplicaState("glm", "a", 0, calls)], [])
        forget(tmp_path, 1)
    assert [line["event"] for line in logs] == [
        "the other workers' metrics miss this one",
        "the metrics still hold a worker that has ended",
    ]
    with pytest.raises(OSError):
        SharedMetrics(tmp_path, 2)
    tmp_path.unlink()


def test_garbage_among_the_metrics_spoils_no_scrape(shared: SharedMetrics, tmp_path: Path) -> None:
    metrics = Metrics(list, list, shared)
    metrics.rate_limited("server", "requests")
    (tmp_path / "worker-7.json").write_bytes(b"{")
    (tmp_path / "worker-8.json").mkdir()
    assert shared.replicas(list) == []
    (tmp_path / "counter_9.db").write_bytes(struct.pack("iiI", 48, 0, 2**31) + b"\xff" * 100)
    with capture_logs() as logs:
        page = metrics.page()
    assert b'rate_limited_total{kind="requests",scope="server"} 1.0' in page
    assert [line["event"][:43] for line in logs] == ["the metrics of all workers could not be sum"]


def test_dropped_lines_of_the_log_are_counted(shared: SharedMetrics) -> None:
    metrics = Metrics(list, list, shared)
    assert b"chorus_log_lines_dropped_total 0.0" in metrics.page()
