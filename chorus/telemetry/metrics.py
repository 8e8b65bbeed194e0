"""Metrics for Prometheus (O2, K5): an observer of runs, a collector of what pools know, and the
page `/metrics`.

Labels come from the configuration and from the table of routes, never from a request: none is
unbounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector

from chorus.errors import StorageUnavailable
from chorus.events import Event, Path, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.journal import Observer
from chorus.telemetry.counting import counting, observing
from chorus.telemetry.log import dropped_lines
from chorus.telemetry.shared import Discoveries, Queues, Replicas, SharedMetrics

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_1_0_0
_REPLICA: Final = ("model", "instance_id")
"""Not `instance`: that is Prometheus' own label for what it scraped, and it would rename ours."""
_SECS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


# the time of a first count is of no use, and several processes have no common one
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Everything that is counted: in one process, or with `shared` in several."""

    def __init__(
        self,
        replicas: Replicas,
        queues: Queues,
        shared: SharedMetrics | None = None,
        discoveries: Discoveries = tuple,
    ) -> None:
        """`replicas`, `queues` with how many wait for each model, and `discoveries` are asked at
        each scrape."""
        self._replicas, self._queues, self._shared, self._discoveries = replicas, queues, shared, discoveries
        registry = self._page = CollectorRegistry()
        if shared is None:
            registry.register(_State(replicas, queues, discoveries))
        else:
            merged = partial(shared.discoveries, discoveries)
            registry.register(_State(partial(shared.replicas, replicas), partial(shared.queues, queues), merged))
            registry = shared.counting(self._page)
        self._wait = Histogram(
            "queue_wait_time",
            "Seconds until a slot was free; no model: the server's own",
            ("model",),
            registry=registry,
            buckets=(0, *_SECS, 600),
        )
        self._requests = Counter(
            "http_requests_total", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self._request_secs = Histogram(
            "http_request_duration_seconds", "Until the end of the answer", ("route",), registry=registry, buckets=_SECS
        )
        self._request_errors = Counter(
            "http_request_errors_total", "Requests that failed, streams too, by error", ("code",), registry=registry
        )
        self._limited = Counter(
            "rate_limited_total", "Requests refused for a rate limit", ("scope", "kind"), registry=registry
        )
        self._aborted = Counter(
            "connections_aborted_total", "Connections closed at once, by reason", ("reason",), registry=registry
        )
        self._unavailable = Counter(
            "storage_unavailable_total",
            "What went on without the store, by the kind of record",
            ("kind",),
            registry=registry,
        )
        self._runs = Counter("chorus_runs_total", "Runs that ended", ("workflow", "status"), registry=registry)
        self._ttft = Histogram(
            "ttft",
            "Seconds from a run's start to its first outward token",
            ("workflow",),
            registry=registry,
            buckets=_SECS,
        )
        self._stages = Histogram(
            "chorus_stage_duration_seconds",
            "Stages of runs; a worker is one call",
            ("stage", "status"),
            registry=registry,
            buckets=_SECS,
        )
        self._calls = Counter("llm_calls_total", "Stages that asked a model", ("model", "status"), registry=registry)
        self._errors = Counter(
            "llm_errors_total", "Stages that failed, by reason", ("model", "code"), registry=registry
        )
        self._retries = Counter("llm_retries_total", "Attempts after the first", ("model",), registry=registry)
        self._tokens = Counter(
            "llm_tokens_total", "Tokens, as reported or estimated", ("model", "kind"), registry=registry
        )
        self._cost = Counter("llm_cost_total", "Cost of calls with a known price", ("model",), registry=registry)
        self._dropped = Counter(
            "chorus_log_lines_dropped_total",
            "Lines of the log that were not written: they were not read in time, or the disk was full",
            registry=registry,
        )
        self._dropped_before = 0
        self._shortcuts = Counter("chorus_shortcuts_total", "Shortcuts taken", ("shortcut",), registry=registry)

        # finding a metric's child for its labels costs more than counting: each is looked up once
        self._request_of = counting(self._requests)
        self._request_secs_of = observing(self._request_secs)
        self._wait_of = observing(self._wait)
        self._run_of = counting(self._runs)
        self._ttft_of = observing(self._ttft)
        self._stage_of = observing(self._stages)
        self._call_of = counting(self._calls)
        self._tokens_of = counting(self._tokens)

    def page(self) -> bytes:
        """Return the page `/metrics`."""
        self._count_dropped()
        return generate_latest(self._page)

    def publish(self) -> None:
        """Publish this process's state to the others; to be called now and then where there are
        others."""
        self._count_dropped()
        if self._shared is not None:
            self._shared.publish(self._replicas(), self._queues(), self._discoveries())

    def _count_dropped(self) -> None:
        """Take over what the log has counted: its thread must not wait for a metric's lock."""
        dropped = dropped_lines()
        self._dropped.inc(max(dropped - self._dropped_before, 0))
        self._dropped_before = dropped

    def waited(self, model: str, secs: float) -> None:
        """Count one wait in a queue; no `model` is the server's own."""
        self._wait_of(model)(secs)

    def rate_limited(self, scope: str, kind: str) -> None:
        """Count one request that came to a rate limit: of the server, a key, a route or a model; of
        requests or tokens."""
        self._limited.labels(scope, kind).inc()

    def connection_aborted(self, reason: str) -> None:
        """Count one connection whose client took too little of its answer."""
        self._aborted.labels(reason).inc()

    def storage_unavailable(self, kind: str) -> None:
        """Count what went on without the records of this kind."""
        self._unavailable.labels(kind).inc()

    def request(self, method: str, route: str, status: int, secs: float, error: str | None = None) -> None:
        """Count one HTTP request; `route` is the path's pattern. `error` is the code of what it
        failed of: one whose stream had begun has failed with status 200."""
        self._request_of(method, route, str(status))(1)
        self._request_secs_of(route)(secs)
        if error is not None:
            self._request_errors.labels(error).inc()

    def observer(self) -> Observer:
        """Return an observer that counts one run."""
        stages: dict[Path, StageStarted] = {}
        workflow = ""

        def count(event: Event) -> None:
            nonlocal workflow
            if type(event) is StageFinished:
                started, parent = stages.pop(event.path), stages.get(event.path[:-1])
                if event.fault is not None and event.fault.code == StorageUnavailable.code:
                    self.storage_unavailable("memory")
                # a nested workflow or a choice is not counted beside the stages that it holds,
                # nor the passes of a selector beside their selector
                if not started.is_group and (parent is None or parent.is_group):
                    self._stage_of(started.stage, event.status)(event.at - started.at)
                self._call(started.model, event)
            elif type(event) is StageStarted:
                stages[event.path] = event
            elif type(event) is RunStarted:
                workflow = event.workflow
            elif type(event) is RunFinished:
                self._run_of(workflow, "ok")(1)
                if event.first_token_at is not None:
                    self._ttft_of(workflow)(event.first_token_at)
                for shortcut in event.shortcuts:
                    self._shortcuts.labels(shortcut.name).inc()
            elif type(event) is RunFailed:
                self._run_of(workflow, event.status)(1)

        return count

    def _call(self, model: str | None, finished: StageFinished) -> None:
        """Count the call that a stage was, if it was one."""
        if model is None:
            return
        if finished.fault is not None:
            self._errors.labels(model, finished.fault.code).inc()
        # it was turned away before the model was asked, at its queue for instance
        if not finished.attempts:
            return
        self._call_of(model, finished.status)(1)
        if len(finished.attempts) > 1:
            self._retries.labels(model).inc(len(finished.attempts) - 1)
        usage = finished.usage
        if usage is not None:
            self._tokens_of(model, "prompt")(usage.prompt_tokens)
            self._tokens_of(model, "completion")(usage.completion_tokens)
            if usage.cost:
                self._cost.labels(model).inc(usage.cost)


class _State(Collector):
    """Asks the pools, the queues and discovery when it is scraped."""

    def __init__(self, replicas: Replicas, queues: Queues, discoveries: Discoveries) -> None:
        self._replicas = replicas
        self._queues = queues
        self._discoveries = discoveries

    def collect(self) -> Iterable[Metric]:
        breaker = GaugeMetricFamily("llm_breaker_state", "0 closed, 1 half-open, 2 open (quarantined)", labels=_REPLICA)
        active = GaugeMetricFamily("active_concurrency", "Calls in flight", labels=_REPLICA)
        for replica in self._replicas():
            breaker.add_metric((replica.model, replica.instance_id), replica.breaker)
            active.add_metric((replica.model, replica.instance_id), replica.in_flight)
        length = GaugeMetricFamily("queue_length", "Waiting; no model: for the server itself", labels=("model",))
        for model, waiting in self._queues():
            length.add_metric((model,), waiting)
        yield length
        yield breaker
        yield active
        yield from self._discovered()

    def _discovered(self) -> Iterable[Metric]:
        instances = GaugeMetricFamily("discovery_instances", "Instances that discovery knows", labels=("model",))
        age = GaugeMetricFamily("discovery_age_seconds", "Since discovery answered last", labels=("model",))
        errors = CounterMetricFamily("discovery_errors", "Times that discovery gave no answer", labels=("model",))
        for state in self._discoveries():
            instances.add_metric((state.model,), state.instances)
            if state.age_secs is not None:
                age.add_metric((state.model,), state.age_secs)
            errors.add_metric((state.model,), state.errors)
        yield instances
        yield age
        yield errors
