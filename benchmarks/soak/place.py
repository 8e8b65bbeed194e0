"""The server of the soak, and what can be asked there: pools with faulty replicas, gates with
queues, keys with limits, workflows that cut their stragglers and get back what they did not
need.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit import free_port

KEY_LIMIT = "40/second"
"""Of the limited keys: about a third of what is asked with one."""
ECHO = "{prompt}"


@dataclass(frozen=True)
class Target:
    """A model to ask.

    `answer` is its text where it is always the same, ECHO where it repeats the prompt, "" where any
    will do. One that `may_fail` has a faulty upstream; of the others, being turned away is the only
    error allowed.
    """

    model: str
    answer: str = ""
    may_fail: bool = False


STEADY = Target("steady", ECHO)
QUEUED = Target("narrow", "tok0 tok1 tok2 ")
"""Its queue is nearly always full."""
SLOW = Target("slow", "tok0 tok1 tok2 tok3 ")
"""Its first token takes its time."""
LONG = Target("long", "".join(f"tok{number} " for number in range(40)))
"""It says much, slowly."""
FAILING = ("pooled", "halved", "flaky", "gone", "chorus", "chorus/quick", "chorus/agreeing")
TARGETS = (STEADY, Target("gated", ECHO), QUEUED, *(Target(name, may_fail=True) for name in FAILING))

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


@dataclass(frozen=True)
class Place:
    """Where the server is, and whose keys are good; those `limited` come under KEY_LIMIT."""

    base: str
    keys: Sequence[str]
    limited: frozenset[str]


def request(path: str, body: object, key: str, **headers: str) -> bytes:
    """A POST as bytes; a `body` of bytes is sent as it is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def configuration(ports: Sequence[int], keys: Path) -> str:
    """The configuration on the upstreams at `ports`: two that are well, and a faulty one."""
    well, also_well, faulty, nobody = (f"http://127.0.0.1:{port}/v1" for port in (*ports, free_port()))
    models = [
        _model("steady", "echo-10", [well, also_well]),
        _model("gated", "echo-30", [well, also_well], "max_concurrency = 8\nmax_waiting = 16\nmax_wait_secs = 1"),
        _model("narrow", "m-20-10-3", [well], "max_concurrency = 3\nmax_waiting = 12\nmax_wait_secs = 1"),
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
    return "\n".join([_SERVER.format(keys=keys), *models, *flows])


def _model(name: str, upstream_name: str, replicas: Sequence[str], more: str = "") -> str:
    where = f'api_base = "{replicas[0]}"' if len(replicas) == 1 else f"replicas = {json.dumps(replicas)}"
    return f'[[model]]\nname = "{name}"\nmodel = "{upstream_name}"\n{where}\n{more}\n'


_SERVER = """
[server]
max_concurrency = 48
max_waiting = 40
max_wait_secs = 2
require_auth = true
keys_file = "{keys}"
heartbeat_secs = 0.5

[limits]
requests = "1000000/second"
tokens = "1000000000/minute"

[trace]
keep = 100

[timeouts]
first_byte_timeout_secs = 4
idle_timeout_secs = 4
first_token_timeout_secs = 3

[workflow.timeouts]
first_token_timeout_secs = 3
worker_timeout_secs = 4
total_timeout_secs = 6
"""
