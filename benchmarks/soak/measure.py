"""One soak: everything is started, loaded for a while, and looked at from outside."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.processes import LOAD_CORE, Cost, chorus, module
from chorus.auth.keys import KeyFile
from tests.kit import ServerProcess, free_port

from .after import aftermath
from .clients import Client, Tally
from .place import KEY_LIMIT, Place, configuration

WARM_UP = 0.5
"""This share of a long run fills what is bounded: traces, stored responses, remembered sessions,
the allocator's arenas.
"""
MAX_KB_PER_MIN = 256.0
"""Bound of a long run.

At 100 requests a second this is 43 bytes a request: less than the smallest thing that a leak could
hold, an empty dict, once a request. (The slope of a server that does not leak is not 0: freed
memory rarely goes back to the kernel, so that the highest tide of the load remains, and comes
seldom.)
"""
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
        return 60 * statistics.linear_regression(*zip(*late, strict=True)).slope

    @property
    def is_long(self) -> bool:
        return self.secs >= LONG_SECS

    def broken(self) -> list[str]:
        """The bounds that do not hold, one sentence each."""
        problems = [*self.tally.failures, *(f"hangs: {each}" for each in self.tally.hung), *self.remains]
        if self.is_long and self.kb_per_min > MAX_KB_PER_MIN:
            problems.append(f"memory grows by {self.kb_per_min:.0f} kB/min (at most {MAX_KB_PER_MIN:.0f})")
        if self.is_long and self.tally.left.total() < CANCELLED_PER_MIN * self.secs / 60:
            problems.append(f"only {self.tally.left.total()} calls were cancelled")
        return problems


def run(secs: float, *, clients: int, seed: int) -> Soak:
    """Load a server for `secs`, and look at what remains."""
    soak = Soak(secs)
    ports = [free_port() for _ in range(3)]
    upstream = module("benchmarks.soak.upstream", *map(str, ports), core=LOAD_CORE, port=ports[-1])
    with tempfile.TemporaryDirectory(prefix="chorus-soak-") as folder, upstream:
        file = KeyFile(Path(folder) / "keys.json")
        free = [_new_key(file, number) for number in range(8)]
        limited = [_new_key(file, number, KEY_LIMIT) for number in range(8, 12)]
        admin_key = file.create("admin", role="admin", models=(), expires=None)[0]
        with chorus(configuration(ports, Path(folder) / "keys.json")) as server:
            place = Place(server.base, [*free, *limited], frozenset(limited))
            uvloop.run(_load(place, server, soak, clients, admin_key, seed))
            if server.stop() != 0:
                soak.remains.append(f"the server stopped with exit code {server.exit_code}")
            if "Traceback" in server.log:
                soak.remains.append(f"the log has a traceback: {server.log[-2000:]}")
    return soak


def _new_key(file: KeyFile, number: int, *requests: str) -> str:
    return file.create(f"client {number}", role="client", models=(), expires=None, requests=requests)[0]


async def _load(place: Place, server: ServerProcess, soak: Soak, clients: int, admin_key: str, seed: int) -> None:
    cost = Cost(server.pid)
    clock = asyncio.get_running_loop().time
    began, idle = clock(), cost.descriptors()

    async def sample() -> None:
        while True:
            soak.samples.append((clock() - began, cost.rss_mb() * 1024, cost.descriptors()))
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        sampling = group.create_task(sample())
        async with asyncio.TaskGroup() as visitors:
            for number in range(clients):
                client = Client(place, soak.tally, f"{seed} {number}")
                visitors.create_task(client.visit_until(began + soak.secs))
        sampling.cancel()
    soak.remains += await aftermath(place, cost, admin_key, idle_descriptors=idle)
    soak.descriptors = idle, cost.descriptors()
