"""Writes `deploy/grafana/dashboards/chorus.json`, a dashboard for Grafana: a panel for each metric
of gateways and workers. Names, kinds and descriptions come from the metrics themselves; a metric
without a line in `ROWS` is an error.

python scripts/dashboard.py            writes the file
python scripts/dashboard.py --check    says whether it is up to date, by its exit code
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chorus.inference.metrics import Metrics as WorkerMetrics
from chorus.telemetry.metrics import Metrics as GatewayMetrics

FILE: Final = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboards" / "chorus.json"
GATEWAYS, WORKERS = 'job="chorus"', 'job="chorus-workers"'
"""The jobs of deploy/compose/prometheus.yml and of deploy/prometheus/prometheus.yml."""


@dataclass(frozen=True)
class Panel:
    """One panel: a metric, by these labels."""

    title: str
    metric: str
    """Its name as Prometheus has it, without `_total`, `_bucket` and the like."""
    by: tuple[str, ...] = ()
    unit: str = "short"


ROWS: Final = {
    "Requests": (
        Panel("Requests a second, by status", "http_requests", ("status",), "reqps"),
        Panel("Duration of requests, by route", "http_request_duration_seconds", ("route",), "s"),
        Panel("Failed requests a second, by error", "http_request_errors", ("code",), "reqps"),
        Panel("Requests refused for a rate limit", "rate_limited", ("scope", "kind"), "reqps"),
        Panel("Connections cut, by reason", "connections_aborted", ("reason",), "cps"),
    ),
    "Runs": (
        Panel("Runs a second, by workflow and status", "chorus_runs", ("workflow", "status"), "ops"),
        Panel("Time to the first token, by workflow", "ttft", ("workflow",), "s"),
        Panel("Duration of stages", "chorus_stage_duration_seconds", ("stage",), "s"),
        Panel("Shortcuts a second", "chorus_shortcuts", ("shortcut",), "ops"),
    ),
    "Models": (
        Panel("Calls a second, by model and status", "llm_calls", ("model", "status"), "ops"),
        Panel("Failed calls a second, by model and reason", "llm_errors", ("model", "code"), "ops"),
        Panel("Further attempts a second", "llm_retries", ("model",), "ops"),
        Panel("Tokens a second", "llm_tokens", ("model", "kind"), "short"),
        Panel("Cost a second", "llm_cost", ("model",), "short"),
    ),
    "Replicas and queues": (
        Panel("Calls in flight, by replica", "active_concurrency", ("model", "instance_id")),
        Panel("Waiting, by model; no model: for the server", "queue_length", ("model",)),
        Panel("Wait for a slot", "queue_wait_time", ("model",), "s"),
        Panel("Quarantine: 0 closed, 1 half-open, 2 open", "llm_breaker_state", ("model", "instance_id")),
        Panel("Instances that discovery knows", "discovery_instances", ("model",)),
        Panel("Age of discovery's answer", "discovery_age_seconds", ("model",), "s"),
        Panel("Errors of discovery a second", "discovery_errors", ("model",), "ops"),
    ),
    "Inference workers": (
        Panel("Answers that are generated, by worker", "llm_active_requests", ("model", "instance")),
        Panel("Requests that wait for the engine", "llm_queue_length", ("model", "instance")),
        Panel("Tokens a second, by worker", "llm_generated_tokens", ("model", "instance")),
        Panel("Requests a second, by status", "llm_requests", ("model", "code"), "reqps"),
        Panel("Time of an answer", "llm_inference_duration_seconds", ("model",), "s"),
        Panel("Time to the first token", "llm_time_to_first_token_seconds", ("model",), "s"),
        Panel("Tokens a second of an answer", "llm_tokens_per_second", ("model",)),
    ),
    "The server itself": (
        Panel("Requests without the store, by kind of record", "storage_unavailable", ("kind",), "ops"),
        Panel("Lines of the log that were lost", "chorus_log_lines_dropped", (), "ops"),
    ),
}
_HIGHEST: Final = frozenset({"llm_breaker_state", "discovery_age_seconds"})
"""Gauges of which the highest counts, not the sum over gateways."""
_LOWEST: Final = frozenset({"discovery_instances"})


@dataclass(frozen=True)
class Metric:
    """A metric of a page `/metrics`."""

    kind: str
    about: str
    job: str


def metrics() -> dict[str, Metric]:
    """Every metric of a gateway and of a worker, by its name without the ending of its samples."""
    gateway, worker = GatewayMetrics(tuple, tuple), WorkerMetrics("model", lambda: 0)
    pages = ((gateway.page(), GATEWAYS), (generate_latest(worker.registry), WORKERS))
    return {
        family.name.removesuffix("_total"): Metric(family.type, family.documentation, job)
        for page, job in pages
        for family in text_string_to_metric_families(page.decode())
    }


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it.

    Raises:
        ValueError: a metric has no panel, or a panel has no metric.
    """
    known = metrics()
    shown = [panel.metric for panels in ROWS.values() for panel in panels]
    if wrong := known.keys() ^ set(shown):
        raise ValueError(f"metrics without a panel, or panels without a metric: {sorted(wrong)}")
    return {
        "uid": "chorus",
        "title": "Chorus",
        "tags": ["chorus"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": [_source()]},
        "panels": list(_panels(known)),
    }


def _source() -> dict[str, Any]:
    """The variable that says which Prometheus is asked."""
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _panels(known: dict[str, Metric]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, top, 24, 1),
        }
        top += 1
        for position, panel in enumerate(panels):
            number += 1
            place = _at(position % 3 * 8, top + position // 3 * 8, 8, 8)
            yield {"id": number, "gridPos": place, **_panel(panel, known[panel.metric])}
        top += (len(panels) + 2) // 3 * 8


def _panel(panel: Panel, metric: Metric) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    queries = [
        {"refId": name, "datasource": source, "expr": expr, "legendFormat": legend}
        for name, (expr, legend) in zip("ABC", _queries(panel, metric), strict=False)
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": metric.about,
        "datasource": source,
        "targets": queries,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }


def _queries(panel: Panel, metric: Metric) -> Iterator[tuple[str, str]]:
    """The expressions of a panel in PromQL, each with the name of its lines."""
    labels = ", ".join(panel.by)
    legend = " ".join(f"{{{{{label}}}}}" for label in panel.by)
    by = f" by ({labels})" if labels else ""
    if metric.kind == "counter":
        yield f"sum{by} (rate({panel.metric}_total{{{metric.job}}}[$__rate_interval]))", legend or panel.title
    elif metric.kind == "histogram":
        rates = (
            f"sum by ({', '.join((*panel.by, 'le'))}) (rate({panel.metric}_bucket{{{metric.job}}}[$__rate_interval]))"
        )
        for quantile in (0.5, 0.95):
            yield f"histogram_quantile({quantile}, {rates})", f"{legend} p{quantile * 100:.0f}".strip()
    else:
        function = "max" if panel.metric in _HIGHEST else "min" if panel.metric in _LOWEST else "sum"
        yield f"{function}{by} ({panel.metric}{{{metric.job}}})", legend or panel.title


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def written() -> str:
    """The text of the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            0 if FILE.read_text(encoding="utf-8") == written() else f"{FILE.name} is old: run scripts/dashboard.py"
        )
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(written(), encoding="utf-8")
