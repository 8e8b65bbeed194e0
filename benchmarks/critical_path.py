"""How near an ensemble comes to a bare loop that makes the same calls: time to the first answer
token, in one run.

    python -m benchmarks.critical_path --max-1 1.02 --max-32 1.10

Analyzer 50 ms, four workers 200 ms that take their temperature from it, selector 100 ms,
synthesizer 50 ms to its first token: no less than 400 ms. Exit code 1 when a bar is missed. The
bare loop makes the same calls with nothing around them, no server in front of them either.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence

import uvloop

from .load import Load
from .processes import GATEWAY_CORE, LOAD_CORE, chorus, pin, run_module, scripted_upstream
from .requests import chat_request

CRITICAL_PATH_MS = 50 + 200 + 100 + 50
RUNS, WAVES, MANY = 20, 5, 32
WORKERS = [f"worker-{number}" for number in range(1, 5)]

WORKFLOW = {
    "analyzer": {"ref": "analyzer"},
    "workers": [{"ref": name, "auto_temperature": True} for name in WORKERS],
    "selector": {"ref": "selector"},
    "synthesizer": {"ref": "synthesizer"},
}
UPSTREAM_NAMES = {
    "analyzer": "analyzer-50",
    **dict.fromkeys(WORKERS, "m-200-0-4"),
    "selector": "selector-100",
    "synthesizer": "m-50-0-16",
}


def configuration(upstream: str) -> str:
    """The Chorus configuration of the ensemble."""
    models = [
        f'[[model]]\nname = "{name}"\nmodel = "{model}"\napi_base = "{upstream}"\napi_key = "bench"\n'
        f"auto_temperature = {str(name in WORKERS).lower()}\n"
        for name, model in UPSTREAM_NAMES.items()
    ]
    return "\n".join([*models, f'[workflow-integration]\njson = """{json.dumps(WORKFLOW)}"""\n'])


async def measure(base: str) -> tuple[list[float], list[float]]:
    """Seconds to the first answer token: alone, and of all in waves."""
    request = chat_request("chorus", stream=True)
    alone: list[float] = []
    many: list[float] = []
    async with Load(base, 1) as load:
        for run in range(RUNS + 2):
            seconds = await load.wave(request)
            alone += seconds if run >= 2 else []  # two to warm up
    async with Load(base, MANY) as load:
        for wave in range(WAVES + 1):
            seconds = await load.wave(request)
            many += seconds if wave >= 1 else []  # the first one opens the connections
    return alone, many


def report(who: str, alone: Sequence[float], many: Sequence[float]) -> tuple[float, float]:
    """Print one line; the medians, divided by the critical path."""
    ratios = tuple(statistics.median(times) * 1000 / CRITICAL_PATH_MS for times in (alone, many))
    worst = max(many) * 1000
    print(
        f"{who:<10} 1: {statistics.median(alone) * 1000:4.0f} ms ({ratios[0]:.3f} of the path)   "
        f"{MANY}: {statistics.median(many) * 1000:4.0f} ms ({ratios[1]:.3f}, slowest {worst:.0f} ms)"
    )
    return ratios[0], ratios[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-1", type=float, default=1.02, help="ratio to the bare loop at concurrency 1")
    parser.add_argument("--max-32", type=float, default=1.10, help="ratio to the bare loop at concurrency 32")
    options = parser.parse_args()
    pin(LOAD_CORE)
    with scripted_upstream() as upstream:
        bare = json.loads(run_module("benchmarks.bare_loop", upstream, core=GATEWAY_CORE))
        with chorus(configuration(upstream)) as server:
            alone, many = uvloop.run(measure(server.base))
    print(f"time to the first answer token, median; critical path {CRITICAL_PATH_MS} ms")
    bare_1, bare_32 = report("bare loop", *bare)
    path_1, path_32 = report("chorus", alone, many)
    ratio_1, ratio_32 = path_1 / bare_1, path_32 / bare_32
    print(f"chorus ÷ bare loop: {ratio_1:.3f} at 1, {ratio_32:.3f} at {MANY}")
    is_good = ratio_1 <= options.max_1 and ratio_32 <= options.max_32
    print(f"{'ok' if is_good else 'ABOVE THE BAR'}: <= {options.max_1} at 1, <= {options.max_32} at {MANY}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
