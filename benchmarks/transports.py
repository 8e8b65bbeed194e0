"""Why Chorus talks to upstreams through aiohttp: httpx's own transport against `httpx-aiohttp`, in one run.

    python -m benchmarks.transports

Requests per second at concurrency 50, and CPU microseconds of this process per stream of 100 chunks. For
orientation: no bar.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

from .processes import GATEWAY_CORE, pin, scripted_upstream

CONCURRENCY = 50
STREAMS_AT_ONCE = 20
MESSAGES = [{"role": "user", "content": "Tell me something about the sea."}]
PLAIN, STREAM = "m-0-0-4", "m-0-2-100"


def httpx_transport() -> httpx.AsyncBaseTransport:
    """What httpx does by itself, without a limit on connections."""
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))


def aiohttp_transport() -> AiohttpTransport:
    """aiohttp's connections below httpx, without a limit on connections."""
    return AiohttpTransport(client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))


async def requests_per_second(client: httpx.AsyncClient, count: int) -> float:
    async def ask() -> None:
        answer = await client.post("/chat/completions", json={"model": PLAIN, "messages": MESSAGES})
        answer.raise_for_status().json()

    started = time.perf_counter()
    await _in_parallel(ask, count, CONCURRENCY)
    return count / (time.perf_counter() - started)


async def cpu_us_per_stream(client: httpx.AsyncClient, count: int) -> float:
    body = {"model": STREAM, "messages": MESSAGES, "stream": True}

    async def ask() -> None:
        last = b""
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            async for chunk in answer.aiter_raw():
                last = chunk
        if not last.endswith(b"data: [DONE]\n\n"):
            raise SystemExit(f"the stream ends with {last!r}")

    before = time.process_time()
    await _in_parallel(ask, count, STREAMS_AT_ONCE)
    return (time.process_time() - before) * 1e6 / count


async def _in_parallel(ask: Callable[[], Awaitable[None]], count: int, concurrency: int) -> None:
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await ask()

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def measure(upstream: str, rounds: int) -> None:
    """Rounds in turn, one client each for the whole run; medians and ratios."""
    rates: dict[str, list[float]] = {"httpx": [], "httpx-aiohttp": []}
    costs: dict[str, list[float]] = {"httpx": [], "httpx-aiohttp": []}
    async with (
        httpx.AsyncClient(base_url=upstream, transport=httpx_transport(), timeout=60) as plain,
        httpx.AsyncClient(base_url=upstream, transport=aiohttp_transport(), timeout=60) as better,
    ):
        clients = {"httpx": plain, "httpx-aiohttp": better}
        for client in clients.values():
            await requests_per_second(client, 200)
        for _ in range(rounds):
            for name, client in clients.items():
                rates[name].append(await requests_per_second(client, 1000))
                costs[name].append(await cpu_us_per_stream(client, 100))
    rate = {name: statistics.median(values) for name, values in rates.items()}
    cost = {name: statistics.median(values) for name, values in costs.items()}
    for name in clients:
        print(f"{name:<14} {rate[name]:6.0f} requests/s   {cost[name]:6.0f} us CPU per 100-chunk stream")
    print(
        f"ratio          {rate['httpx-aiohttp'] / rate['httpx']:6.2f} x requests"
        f"     {cost['httpx-aiohttp'] / cost['httpx']:6.2f} x CPU"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pin(GATEWAY_CORE)
    with scripted_upstream() as upstream:
        uvloop.run(measure(upstream, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
