"""A thousand slow streams through one server process: what it adds to the first token, and what
each one holds in memory.

    python -m benchmarks.slow_streams --max-added-ms 50 --max-kb 100

Each stream says a piece every 200 ms for ten seconds. They begin evenly spread over ten seconds,
until a thousand are open; the next thousand begin as the first ones end, and theirs are the times
that count. First straight from the upstream, then through Chorus, in one run. Exit code 1 when a
bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop

from .load import BadAnswer, TimedConnection
from .processes import LOAD_CORE, Cost, chorus, pin, scripted_upstream
from .requests import chat_request

STREAMS = 1000
FIRST_MS, GAP_MS, PIECES = 100, 200, 51
MODEL = f"m-{FIRST_MS}-{GAP_MS}-{PIECES}"
STREAM_SECS = (FIRST_MS + GAP_MS * (PIECES - 1)) / 1000
CONFIG = '[[model]]\nname = "{model}"\napi_base = "{upstream}"\napi_key = "bench"\n'


@dataclass
class Seen:
    """What was measured on one side.

    `first_tokens` in milliseconds since the client began to connect; `open` how many streams were
    being read when `kb` (resident, above idle) and `descriptors` (of the process) were looked at.
    `cpu` is the share of a core while a thousand were open, and `kept_waiting` the share of the
    time in which others had that core.
    """

    first_tokens: list[float] = field(default_factory=list)
    open: int = 0
    kb: float = 0.0
    descriptors: int = 0
    cpu: float = 0.0
    kept_waiting: float = 0.0

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.first_tokens, n=100, method="inclusive")[percent - 1]


async def measure(base: str, streams: int, server: Cost | None = None) -> Seen:
    """Two generations of `streams`, the second one measured. BadAnswer when one is not complete."""
    address = urlsplit(base)
    request = chat_request(MODEL, stream=True)
    loop = asyncio.get_running_loop()
    seen = Seen()
    open_now = 0

    async def read() -> float:
        nonlocal open_now
        began = time.perf_counter()
        _, connection = await loop.create_connection(TimedConnection, str(address.hostname), int(address.port or 80))
        open_now += 1
        await connection.send(request)
        open_now -= 1
        connection.close()
        if not connection.body.endswith(b"data: [DONE]\n\n"):
            raise BadAnswer(f"the stream ends with {connection.body[-100:]!r}")
        return (connection.first_token_at - began) * 1000

    async def read_at(at: float, *, counts: bool) -> None:
        await asyncio.sleep(at - loop.time())
        first_token = await read()
        if counts:
            seen.first_tokens.append(first_token)

    await read()
    idle_kb = _rss_kb(server)
    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(2 * streams):
            at = start + number * STREAM_SECS / streams
            group.create_task(read_at(at, counts=number >= streams))
        await asyncio.sleep(start + STREAM_SECS - loop.time())
        seen.open, seen.kb = open_now, _rss_kb(server) - idle_kb
        seen.descriptors = server.descriptors() if server is not None else 0
        before = _times(server)
        await asyncio.sleep(start + 2 * STREAM_SECS - loop.time())
        cpu_ms, waiting_ms = (now - then for now, then in zip(_times(server), before, strict=True))
        seen.cpu, seen.kept_waiting = cpu_ms / (STREAM_SECS * 1000), waiting_ms / (STREAM_SECS * 1000)
    return seen


def _rss_kb(server: Cost | None) -> float:
    return server.rss_mb() * 1024 if server is not None else 0.0


def _times(server: Cost | None) -> tuple[float, float]:
    return (server.cpu_ms(), server.kept_waiting_ms()) if server is not None else (0.0, 0.0)


def report(name: str, seen: Seen) -> None:
    """Print one line."""
    line = f"{name:<8} first token p50 {seen.percentile(50):6.1f} ms, p99 {seen.percentile(99):6.1f} ms"
    if seen.kb:
        line += f"   {seen.open} open: {seen.kb / seen.open:5.1f} kB each, {seen.descriptors} descriptors, {seen.cpu:4.0%} of a core"
        line += f" (others had it {seen.kept_waiting:.1%} of the time)"
    print(line)


def judge(direct: Seen, ours: Seen, *, max_added_ms: float, max_kb: float) -> bool:
    """Print what Chorus adds; whether it is within the bars."""
    p50, p99 = (ours.percentile(percent) - direct.percentile(percent) for percent in (50, 99))
    print(f"added    first token p50 {p50:6.1f} ms, p99 {p99:6.1f} ms")
    return p99 <= max_added_ms and ours.kb / ours.open <= max_kb


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=STREAMS, help="open at a time")
    parser.add_argument("--max-added-ms", type=float, default=50.0, help="to the first token, at the 99th percentile")
    parser.add_argument("--max-kb", type=float, default=100.0, help="of resident memory an open stream")
    options = parser.parse_args(arguments)
    pin(LOAD_CORE)
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(scripted_upstream())
        direct = uvloop.run(measure(upstream, options.streams))
        report("direct", direct)
        server = stack.enter_context(chorus(CONFIG.format(model=MODEL, upstream=upstream)))
        ours = uvloop.run(measure(server.base, options.streams, Cost(server.pid)))
    report("chorus", ours)
    is_good = judge(direct, ours, max_added_ms=options.max_added_ms, max_kb=options.max_kb)
    bars = f"added p99 <= {options.max_added_ms} ms, <= {options.max_kb} kB a stream"
    print(f"{'ok' if is_good else 'ABOVE THE BAR'}: {bars}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
