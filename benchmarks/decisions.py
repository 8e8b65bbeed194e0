"""What each decision about a request costs by itself, in process: who goes on, who waits, who is
charged, who is asked.

    python -m benchmarks.decisions --max-us 30

Microseconds of CPU of one event loop, the median of several rounds. Exit code 1 when one is above
the bar; the limits in Redis have none, since a round trip is not ours; they are printed, by the
clock on the wall, where a redis-server is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import uvloop

from chorus.admission.gate import Gate
from chorus.admission.limiter import Limiter, MemoryLimiter
from chorus.admission.limits import costs_of
from chorus.admission.meter import Account, Kind
from chorus.admission.queue import WaitingLine
from chorus.admission.redis_limiter import RedisLimiter
from chorus.auth.keys import KeyFile, KeyRing
from chorus.errors import InvalidKey
from chorus.llm.address import ReplicaAddress
from chorus.llm.base import Upstream
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.replica import Replica
from chorus.rate import rate
from chorus.types import Priority
from tests.kit.programs import RedisServer

ROUNDS = 9
WAITING = 1000
KEYS = 100
PRIORITIES: tuple[Priority, ...] = ("interactive", "default", "batch")

Decide = Callable[[int], Awaitable[None]]
"""Makes a decision so many times."""


async def microseconds(decide: Decide, count: int, clock: Callable[[], float] = time.process_time) -> float:
    """Of one decision: the median over rounds of `count`, after one that warms up."""
    rounds = []
    for _ in range(ROUNDS + 1):
        began = clock()
        await decide(count)
        rounds.append((clock() - began) / count * 1e6)
    return statistics.median(rounds[1:])


async def free_gate(count: int) -> None:
    """In and out where nobody waits."""
    gate = Gate("server", 1)
    for _ in range(count):
        async with gate.slot("default"):
            pass


async def crowded_gate(count: int) -> None:
    """To wait for a slot behind a thousand others, to get it, and to hand it on.

    Two switches between tasks included.
    """
    gate, left = Gate("server", 1, max_wait_secs=60), iter(range(count))

    async def pass_through(priority: Priority) -> None:
        for _ in left:
            async with gate.slot(priority):
                pass
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group, gate.slot("default"):
        for number in range(WAITING):
            group.create_task(pass_through(PRIORITIES[number % 3]))
        await asyncio.sleep(0)


def line(waiting: int, *, is_served: bool) -> Decide:
    """To join the line and to leave it again, or to be served, with so many others in it."""

    async def decide(count: int) -> None:
        waiting_line = WaitingLine()
        for number in range(waiting):
            waiting_line.join(PRIORITIES[number % 3], float(number))
        for number in range(count):
            ticket = waiting_line.join(PRIORITIES[number % 3], float(waiting + number))
            if is_served:
                waiting_line.next()
            else:
                waiting_line.leave(ticket)

    return decide


def limits(limiter: Limiter, accounts: int) -> Decide:
    """To charge a workflow of eight calls to so many accounts, and to settle for the five that it
    made.
    """
    kinds: tuple[Kind, ...] = ("requests", "tokens")
    under = [
        Account(f"account {number}", "key", "this key", kinds[number % 2], rate("1000000000/second"))
        for number in range(accounts)
    ]

    async def decide(count: int) -> None:
        for _ in range(count):
            decision = await limiter.take(under, costs_of(under, {"model": 8}, {"model": 8000}))
            assert decision.refused is None
            await decision.settle(costs_of(under, {"model": 5}, {"model": 900}))

    return decide


class _Nobody:
    """An embedder that answers at once."""

    async def embed(self, call: EmbedCall) -> Embeddings:
        return _NOTHING


_NOTHING = Embeddings([])


def pool(replicas: int) -> Decide:
    """To choose one of so many replicas by their load and their breakers, and to note that it was
    well.
    """
    upstream, nobody = cast(Upstream, None), _Nobody()  # what embeds needs no upstream
    addresses = [ReplicaAddress(f"replica {number}") for number in range(replicas)]
    chosen_from = Pool("model", lambda at: Replica(at.api_base, upstream, nobody), addresses)
    call = EmbedCall(())

    async def decide(count: int) -> None:
        for _ in range(count):
            await chosen_from.embed(call)

    return decide


def key(ring: KeyRing, text: str) -> Decide:
    """To look a key up, or to find that there is no such key."""

    async def decide(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(InvalidKey):
                ring.check(text)

    return decide


async def decisions() -> AsyncIterator[tuple[str, float]]:
    """Each decision, and its microseconds."""
    yield "gate, nobody waits: enter, leave", await microseconds(free_gate, 5000)
    yield f"gate, {WAITING} wait: wait, enter, leave", await microseconds(crowded_gate, 5000)
    for waiting in (0, WAITING):
        for is_served in (True, False):
            name = f"line of {waiting}: join, {'be served' if is_served else 'leave'}"
            yield name, await microseconds(line(waiting, is_served=is_served), 5000)
    for accounts in (1, 4, 8):
        yield (
            f"limits, {accounts} accounts: charge, settle",
            await microseconds(limits(MemoryLimiter(), accounts), 2000),
        )
    for replicas in (1, 3, 16):
        yield f"pool of {replicas}: choose, note the outcome", await microseconds(pool(replicas), 2000)
    with tempfile.TemporaryDirectory(prefix="chorus-keys-") as folder:
        file = KeyFile(Path(folder) / "keys.json")
        for number in range(KEYS):
            text, _ = file.create(f"client {number}", role="client", models=(), expires=None)
        ring = KeyRing(file)
        yield f"one of {KEYS} keys: check", await microseconds(key(ring, text), 5000)
        yield f"none of {KEYS} keys: check", await microseconds(key(ring, text + "?"), 5000)


async def in_redis() -> None:
    """Print the limits in Redis."""
    with RedisServer() as redis:
        limiter = RedisLimiter(redis.url)
        for accounts in (1, 4, 8):
            us = await microseconds(limits(limiter, accounts), 200, time.perf_counter)
            report(f"limits in Redis, {accounts} accounts", us)
        await limiter.aclose()


def report(name: str, us: float, note: str = "") -> None:
    """Print one line."""
    print(f"{name:<44} {us:8.2f} µs   {note}".rstrip(), flush=True)


async def measure(max_us: float) -> bool:
    """Print all; whether those that have a bar are below it."""
    is_good = True
    async for name, us in decisions():
        report(name, us, "" if us <= max_us else "ABOVE THE BAR")
        is_good = is_good and us <= max_us
    if shutil.which("redis-server") is not None:
        await in_redis()
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-us", type=float, default=30.0, help="of one decision")
    options = parser.parse_args()
    is_good = uvloop.run(measure(options.max_us))
    print(f"{'ok' if is_good else 'ABOVE THE BAR'}: each decision <= {options.max_us:g} µs")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
