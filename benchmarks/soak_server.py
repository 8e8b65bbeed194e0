"""The server of the soak: pools with faulty replicas, gates with queues, workflows that cut their stragglers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.kit import free_port

from .soak_visitors import Target, Ward

KEYS = 48
SERVER_SLOTS = 64
SLOTS = {"gated": 4, "narrow": 2, "steady": SERVER_SLOTS}
"""How many calls of a model can go on at once; `steady` has no gate of its own, and shows the server's."""

ECHO = "{prompt}"
TARGETS = (
    Target("steady", ECHO),
    Target("gated", ECHO),
    Target("narrow", "tok0 tok1 tok2 "),
    Target("pooled", ECHO, may_fail=True),
    Target("halved", ECHO, may_fail=True),
    Target("flaky", ECHO, may_fail=True),
    Target("gone", may_fail=True),
    Target("chorus", may_fail=True),
    Target("chorus/quick", may_fail=True),
    Target("chorus/agreeing", may_fail=True),
)

_FLOWS = {
    "workflow-integration": {
        "analyzer": "analyzer",
        "workers": [{"ref": "pooled", "auto_temperature": True}, "gated", "flaky", "steady"],
        "selector": "selector",
        "synthesizer": "steady",
    },
    "workflows.quick": {
        "workers": ["steady", "slow", "halved"],
        "quorum": {"min": 1, "grace_secs": 0.01},
        "hedge": {"after_secs": 0.05, "to": "steady"},
        "synthesizer": "steady",
    },
    "workflows.agreeing": {
        "workers": ["steady", "gated", "long"],
        "agreement": {"threshold": 2},
        "selector": "selector",
    },
}


def configuration(ports: Sequence[int], keys: Path) -> str:
    """The configuration on the upstreams at `ports`: two that are well, and a faulty one."""
    well, also_well, faulty, nobody = (f"http://127.0.0.1:{port}/v1" for port in (*ports, free_port()))
    models = [
        _model("steady", "echo-10", [well, also_well]),
        _model("gated", "echo-30", [well, also_well], "max_concurrency = 4\nmax_waiting = 8\nmax_wait_secs = 1"),
        _model("narrow", "m-50-50-3", [well], "max_concurrency = 2\nmax_waiting = 6\nmax_wait_secs = 1"),
        _model("pooled", "echo-10", [well, also_well, faulty], 'balance = "latency"\nauto_temperature = true'),
        _model("halved", "echo-10", [nobody, faulty, well], 'balance = "round_robin"'),
        _model("flaky", "echo", [faulty]),
        _model("gone", "echo", [nobody]),
        _model("slow", "m-300-0-4", [well, also_well]),
        _model("long", "m-10-10-40", [well, also_well], 'balance = "weighted"'),
        _model("analyzer", "analyzer-5", [well]),
        _model("selector", "selector-5", [well]),
    ]
    flows = [f"[{name}]\njson = '''{json.dumps(tree)}'''\n" for name, tree in _FLOWS.items()]
    return "\n".join([_SERVER.format(slots=SERVER_SLOTS, keys=keys), *models, *flows])


def ward_of(base: str, keys: Sequence[str]) -> Ward:
    """What visitors of the server at `base` have to know."""
    long = Target("long", "".join(f"tok{number} " for number in range(40)))
    return Ward(base, keys, TARGETS, TARGETS[2], Target("slow", "tok0 tok1 tok2 tok3 "), long)


def _model(name: str, upstream_name: str, replicas: Sequence[str], more: str = "") -> str:
    where = f'api_base = "{replicas[0]}"' if len(replicas) == 1 else f"replicas = {json.dumps(replicas)}"
    return f'[[model]]\nname = "{name}"\nmodel = "{upstream_name}"\n{where}\n{more}\n'


_SERVER = """
[server]
max_concurrency = {slots}
max_waiting = 16
max_wait_secs = 2
require_auth = true
keys_file = "{keys}"
heartbeat_secs = 0.5

[trace]
keep = 100

[workflow.timeouts]
first_token_timeout_secs = 1.5
worker_timeout_secs = 3
total_timeout_secs = 5
"""
