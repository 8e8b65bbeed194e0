"""What Chorus relies on in uvicorn and prometheus-client beyond their documents.

`pyproject.toml` bounds both from above. A failure here, after the bound was raised, names what has
changed.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import uvicorn
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from chorus.telemetry.counting import counting, observing

ROOT = Path(__file__).resolve().parents[2]

PROTOCOL_METHODS = (
    *("connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
    *("on_response_complete", "shutdown", "timeout_keep_alive_handler", "handle_websocket_upgrade"),
)
PROTOCOL_FIELDS = (
    *("app", "app_state", "config", "cycle", "flow", "headers", "loop", "parser", "pipeline", "root_path", "scheme"),
    *("scope", "server_state", "tasks", "timeout_keep_alive_task", "transport"),
)
CYCLE_PARAMETERS = (
    *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers"),
    *("message_event", "expect_100_continue", "keep_alive", "on_response"),
)
CYCLE_FIELDS = (
    *("body", "chunked_encoding", "disconnected", "expected_content_length", "flow", "keep_alive", "message_event"),
    *("more_body", "response_complete", "response_started", "scope", "transport", "default_headers"),
    "waiting_for_100_continue",
)
SERVER_METHODS = ("serve", "startup", "shutdown", "on_tick", "capture_signals", "handle_exit")


def assigned(kind: type) -> set[str]:
    """The attributes that the initialiser of `kind` assigns."""
    return set(re.findall(r"self\.(\w+)\s*(?::[^=\n]+)?=", inspect.getsource(kind.__init__)))  # type: ignore[misc]


def test_uvicorns_protocol_calls_the_methods_that_chorus_overrides() -> None:
    missing = [name for name in PROTOCOL_METHODS if not callable(getattr(HttpToolsProtocol, name, None))]
    assert missing == []
    assert set(PROTOCOL_FIELDS) - assigned(HttpToolsProtocol) - set(HttpToolsProtocol.__dict__) == set()
    assert tuple(inspect.signature(HttpToolsProtocol).parameters) == ("config", "server_state", "app_state", "_loop")


def test_uvicorns_cycle_has_the_fields_that_chorus_reads_and_sets() -> None:
    assert set(CYCLE_FIELDS) - assigned(RequestResponseCycle) == set()
    assert tuple(inspect.signature(RequestResponseCycle).parameters) == CYCLE_PARAMETERS
    for name in ("run_asgi", "send", "receive"):
        assert inspect.iscoroutinefunction(getattr(RequestResponseCycle, name))


def test_uvicorns_server_has_the_methods_that_chorus_overrides() -> None:
    assert [name for name in SERVER_METHODS if not callable(getattr(Server, name, None))] == []
    # its own logging would stay for other tests
    server = Server(uvicorn.Config("x:y", log_config=None))
    assert (server.should_exit, server.force_exit) == (False, False)
    assert server.server_state.tasks == ServerState().tasks == set()
    assert isinstance(server.config.encoded_headers if server.config.loaded else [], list)


def test_uvicorns_flow_control_says_when_writing_is_paused() -> None:
    assert HIGH_WATER_LIMIT > 0
    assert "write_paused" in assigned(FlowControl)


_COUNT = """
import sys
from prometheus_client import CollectorRegistry, Counter, values
from prometheus_client.multiprocess import MultiProcessCollector

values.ValueClass = values.MultiProcessValue(lambda: 7)
Counter("seen", "Seen", registry=CollectorRegistry()).inc(3)
page = CollectorRegistry()
MultiProcessCollector(page, sys.argv[1])
print(page.get_sample_value("seen_total"))
"""


def test_prometheus_client_takes_another_kind_of_value(tmp_path: Path) -> None:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _COUNT, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "3.0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["counter_7.db"]


def test_the_values_of_prometheus_client_can_be_counted_by() -> None:
    """`telemetry/counting.py` counts as the library's own methods do."""
    pages = []
    for is_ours in (True, False):
        registry = CollectorRegistry()
        counter = Counter("seen", "Seen", ("kind",), registry=registry)
        histogram = Histogram("took", "Took", ("kind",), registry=registry, buckets=(0, 0.5, 1))
        for value in (0, 0.25, 0.5, 0.75, 1, 2):
            if is_ours:
                counting(counter)("a")(value)
                observing(histogram)("a")(value)
            else:
                counter.labels("a").inc(value)
                histogram.labels("a").observe(value)
        pages.append(generate_latest(registry))
    assert pages[0] == pages[1]
    assert b'took_bucket{kind="a",le="0.5"} 3.0' in pages[0]


@pytest.mark.parametrize("name", ["uvicorn", "prometheus-client"])
def test_they_are_bounded_from_above(name: str) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (entry,) = (each for each in dependencies if each.startswith(name))
    assert re.search(r",<\d", entry)
