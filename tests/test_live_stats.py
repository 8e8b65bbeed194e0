"""What a server does, second by second (O4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chorus.auth.principal import LOCAL
from chorus.errors import QueueFull
from chorus.events import Event, Fault, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.journal import Journal
from chorus.live_runs import LiveRuns
from chorus.live_stats import SECONDS, LiveStats
from chorus.telemetry.shared import ReplicaState
from chorus.usage import Usage

pytestmark = pytest.mark.requirement("O5")

REPLICAS = [ReplicaState("glm", "glm@a", 2, 3), ReplicaState("glm", "glm@b", 0, 1)]


def stats_of(runs: LiveRuns) -> LiveStats:
    runs.collect()
    return LiveStats(runs, lambda: REPLICAS, lambda: [("glm", 4), ("", 1)])


def ended(runs: LiveRuns, *events: Event, owner: str = LOCAL) -> None:
    run = runs.entry("wf_1", "glm", None, None)
    run.owner = owner
    run.enter(journal := Journal())
    for event in (RunStarted("wf_1", "req", "glm", "glm", 0.0), *events):
        journal.write(event)
    run.leave()


def answered(secs: float = 0.2) -> list[Event]:
    usage = Usage(10, 5, cost=0.5)
    return [
        StageStarted(("0",), 0.0, "worker", "glm", "glm"),
        StageFinished(("0",), 1.0, "ok", usage=usage, attempts=("glm@a",), queue_secs=0.05),
        RunFinished(1.0, (), usage, first_token_at=secs),
    ]


def newest(stats: LiveStats, owner: str | None = None) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(stats.sample(owner))
    return sample


def test_a_second_counts_the_runs_that_ended_in_it() -> None:
    stats = stats_of(runs := LiveRuns())
    for secs in (0.1, 0.2, 0.3):
        ended(runs, *answered(secs))
    stats.take(100.2)
    sample = newest(stats)
    assert (sample["at"], sample["requests"], sample["errors"], sample["live_runs"]) == (100, 3, 0, 0)
    assert sample["first_token_ms"] == {"p50": 200, "p95": 300}
    assert sample["queue_wait_ms"] == {"p50": 50, "p95": 50}
    assert sample["models"]["glm"] == {
        "calls": 3, "errors": 0, "prompt_tokens": 30, "completion_tokens": 15, "cost": 1.5,
    }  # fmt: skip
    assert (sample["active_calls"], sample["queued"], sample["queues"]) == (4, 5, {"glm": 4, "": 1})
    assert sample["replicas"][0] == {"model": "glm", "instance_id": "glm@a", "breaker": "open", "active_calls": 3}
    stats.take(101.2)
    sample = newest(stats)
    assert (sample["requests"], sample["first_token_ms"], sample["models"]) == (0, None, {})


def test_errors_are_counted_by_their_code() -> None:
    stats = stats_of(runs := LiveRuns())
    fault = Fault("upstream_status", "It failed.")
    begun = StageStarted(("0",), 0.0, "worker", "glm", "glm")
    ended(runs, begun, StageFinished(("0",), 1.0, "failed", fault=fault), RunFailed(1.0, QueueFull("full")))
    ended(runs, RunFailed(1.0, QueueFull("full"), "cancelled"))
    runs.refuse(runs.entry("wf_2", "glm", None, None), "rate_limit_exceeded")
    stats.take(100)
    sample = newest(stats)
    assert (sample["requests"], sample["errors"]) == (3, 2)
    assert sample["errors_by_code"] == {"queue_full": 1, "rate_limit_exceeded": 1}
    assert sample["models"]["glm"]["errors"] == 1


def test_an_owner_sees_its_own_runs_and_no_replica() -> None:
    stats = stats_of(runs := LiveRuns())
    ended(runs, *answered(), owner="ann")
    runs.entry("wf_3", "glm", None, None).enter(Journal())
    stats.take(100)
    assert newest(stats, "ann")["requests"] == newest(stats)["requests"] == 1
    of_ben = newest(stats, "ben")
    assert (of_ben["requests"], of_ben["live_runs"], of_ben["models"]) == (0, 0, {})
    assert not {"replicas", "queues", "active_calls", "queued"} & of_ben.keys()
    assert json.loads(stats.history("ben")) == [of_ben]


def test_fifteen_minutes_are_kept() -> None:
    stats = stats_of(LiveRuns())
    for second in range(SECONDS + 5):
        stats.take(second)
    history = json.loads(stats.history(None))
    assert [sample["at"] for sample in history] == [*range(5, SECONDS + 5)]


def test_nothing_is_kept_for_samples_that_nobody_takes() -> None:
    runs = LiveRuns()
    ended(runs, *answered())
    assert runs.take_ended() == []
