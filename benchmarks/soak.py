"""Whether anything leaks: mixed load with faults and clients that leave, on a server process, seen from outside.

    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --seconds 20

Exit code 1 when a bound is broken: a request that hangs, an answer that is neither whole nor a clear error, a slot or a
descriptor that is not given back, a server that does not answer any more; in the long form also memory that grows.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from chorus.admission.keys import KeyFile
from tests.kit import ServerProcess, free_port

from .processes import GATEWAY_CORE, LOAD_CORE, Cost, chorus, module, pin
from .soak_after import aftermath
from .soak_server import KEYS, SLOTS, configuration, ward_of
from .soak_visitors import Client, Tally, Ward

CLIENTS = 96
WARM_UP = 0.5
"""This share of a long run fills what is bounded: traces, stored responses, remembered sessions, the allocator's arenas."""
MAX_KB_PER_MIN = 256.0
"""Bound of the long form. At 100 requests a second this is 43 bytes a request: less than the smallest thing that a leak could
hold, an empty dict, once a request. (The slope of a server that does not leak is not 0: freed memory goes back to Python's
allocator in pieces and rarely to the kernel, so that the highest tide of the load remains, and comes seldom.)"""
LONG_SECS = 300.0
"""From so long a run on, the slope means something."""
CANCELLED_PER_MIN = 1000
"""A long run has at least so many clients that left."""


@dataclass
class Soak:
    """What was measured. Samples are (seconds since the start, resident kB, open descriptors)."""

    secs: float
    tally: Tally = field(default_factory=Tally)
    samples: list[tuple[float, float, int]] = field(default_factory=list)
    descriptors: tuple[int, int] = (0, 0)
    """Before the load, and after it."""
    remains: list[str] = field(default_factory=list)
    """What was not as before when the load was over."""

    @property
    def kb_per_min(self) -> float:
        """Slope of resident memory after the warm-up."""
        late = [(at, kb) for at, kb, _ in self.samples if at >= self.secs * WARM_UP]
        return 60 * statistics.linear_regression(*zip(*late, strict=True)).slope if len(late) > 1 else 0.0

    @property
    def cancelled(self) -> int:
        return sum(self.tally.left.values())

    def broken(self) -> list[str]:
        """The bounds that do not hold, one sentence each."""
        problems = [*self.tally.failures, *(f"hangs: {each}" for each in self.tally.hung), *self.remains]
        if self.secs >= LONG_SECS:
            if self.kb_per_min > MAX_KB_PER_MIN:
                problems.append(f"memory grows by {self.kb_per_min:.0f} kB/min (at most {MAX_KB_PER_MIN:.0f})")
            if self.cancelled < CANCELLED_PER_MIN * self.secs / 60:
                problems.append(f"only {self.cancelled} calls were cancelled")
        return problems


async def _load(ward: Ward, server: ServerProcess, soak: Soak, clients: int, admin_key: str, seed: int) -> None:
    cost = Cost(server.pid)
    began = asyncio.get_running_loop().time()
    idle = cost.descriptors()
    is_over = asyncio.Event()

    async def sample() -> None:
        while not is_over.is_set():
            soak.samples.append((asyncio.get_running_loop().time() - began, cost.rss_mb() * 1024, cost.descriptors()))
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(sample())
        async with asyncio.TaskGroup() as visitors:
            for number in range(clients):
                client = Client(ward, soak.tally, f"{seed} {number}")
                visitors.create_task(client.visit_until(began + soak.secs))
        is_over.set()
    soak.remains = await aftermath(ward, cost, admin_key, SLOTS, idle_descriptors=idle)
    soak.descriptors = idle, cost.descriptors()


def run(secs: float, *, clients: int = CLIENTS, seed: int = 0) -> Soak:
    """Start everything, load it for `secs`, look at what remains."""
    soak = Soak(secs)
    ports = [free_port() for _ in range(3)]
    upstream = module("benchmarks.soak_upstream", *map(str, ports), core=LOAD_CORE, port=ports[-1])
    with tempfile.TemporaryDirectory(prefix="chorus-soak-") as folder, upstream:
        path = Path(folder) / "keys.json"
        file = KeyFile(path)
        keys = [file.create(f"client {number}", role="client", models=(), expires=None)[0] for number in range(KEYS)]
        admin_key = file.create("admin", role="admin", models=(), expires=None)[0]
        with chorus(configuration(ports, path)) as server:
            uvloop.run(_load(ward_of(server.base, keys), server, soak, clients, admin_key, seed))
            if server.stop() != 0:
                soak.remains.append(f"the server stopped with exit code {server.exit_code}")
            if "Traceback" in server.log:
                soak.remains.append(f"the log has a traceback: {server.log[-2000:]}")
    return soak


def report(soak: Soak) -> None:
    """Print the table."""
    tally = soak.tally
    rows: list[tuple[str, float, str]] = [
        ("requests", tally.requests, f"{tally.requests / soak.secs:.0f} a second"),
        ("whole answers", tally.answers, ""),
        *((f"error {code}", count, "") for code, count in sorted(tally.errors.items())),
        *((f"left {phase}", count, "") for phase, count in sorted(tally.left.items())),
        ("left, all", soak.cancelled, ""),
        ("nonsense, refused", tally.nonsense, ""),
        ("hung", len(tally.hung), ""),
        ("neither answer nor clear error", len(tally.failures), ""),
        ("descriptors before", soak.descriptors[0], f"at most {max(each for _, _, each in soak.samples)} under load"),
        ("descriptors after", soak.descriptors[1], ""),
        ("memory at the start, kB", soak.samples[0][1], ""),
        ("memory at the end, kB", soak.samples[-1][1], ""),
    ]
    if soak.secs >= LONG_SECS:
        per_request = soak.kb_per_min * 1024 / 60 / (tally.requests / soak.secs)
        note = f"{per_request:.1f} bytes a request, last {1 - WARM_UP:.0%} of the run"
        rows.append(("memory slope, kB/min", soak.kb_per_min, note))
    for name, value, note in rows:
        print(f"{name:<36} {value:10.0f}   {note}".rstrip())


def verdict(problems: Sequence[str]) -> int:
    """Print what is broken, the first of it; the exit code."""
    for problem in problems[:20]:
        print(f"BROKEN: {problem}")
    print("ok: every bound holds" if not problems else f"{len(problems)} BOUNDS ARE BROKEN")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0)
    length.add_argument("--seconds", type=float, help="the short form")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what the clients do")
    options = parser.parse_args()
    pin(LOAD_CORE)
    secs = options.seconds if options.seconds is not None else options.minutes * 60
    print(f"{options.clients} clients for {secs:.0f} s on core {GATEWAY_CORE}, seed {options.seed}")
    soak = run(secs, clients=options.clients, seed=options.seed)
    report(soak)
    return verdict(soak.broken())


if __name__ == "__main__":
    sys.exit(main())
