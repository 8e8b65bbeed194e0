"""Why Chorus has an HTTP client of its own: httpx, `httpx-aiohttp`, aiohttp and
`chorus/llm/transport/http`, in one run.

    python -m benchmarks.transports

Requests per second at concurrency 50, and CPU microseconds of this process per stream of 100
chunks. For orientation: no bar.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

from chorus import wirejson
from chorus.llm.base import context_headers
from chorus.llm.transport.clients import Clients, Endpoint

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


class Httpx:
    """A client of httpx."""

    def __init__(self, upstream: str, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(base_url=upstream, transport=transport, timeout=60)
        self.aclose = self._client.aclose

    async def ask(self, model: str, *, stream: bool) -> bytes:
        """The last piece of the answer."""
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        last = b""
        async with self._client.stream("POST", "/chat/completions", json=body) as answer:
            async for chunk in answer.aiter_raw():
                last = chunk
        return last


class Aiohttp:
    """aiohttp without httpx, as Chorus uses it where a proxy leads to the upstream."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/chat/completions"
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self.aclose = self._session.close

    async def ask(self, model: str, *, stream: bool) -> bytes:
        """The last piece of the answer."""
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        content = aiohttp.BytesPayload(json.dumps(body).encode(), content_type="application/json")
        last = b""
        async with self._session.post(self._url, data=content, allow_redirects=False) as answer:
            while chunk := await answer.content.readany():
                last = chunk
        return last


class Chorus:
    """What Chorus's providers use: `chorus/llm/transport/http`, with the JSON and the errors around
    it.
    """

    def __init__(self, upstream: str) -> None:
        clients = Clients()
        self._endpoint = Endpoint(clients, f"{upstream}/chat/completions", {}, name="bench")
        self.aclose = clients.aclose

    async def ask(self, model: str, *, stream: bool) -> bytes:
        """The last piece of the answer."""
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        last = b""
        content, headers = wirejson.encode_upstream(body), context_headers("bench")
        with await self._endpoint.post(content, connect_timeout=10.0, headers=headers) as answer:
            async for chunk in answer.parts():
                last = chunk
        return last


Client = Httpx | Aiohttp | Chorus


async def requests_per_second(client: Client, count: int) -> float:
    async def ask() -> None:
        json.loads(await client.ask(PLAIN, stream=False))

    started = time.perf_counter()
    await _in_parallel(ask, count, CONCURRENCY)
    return count / (time.perf_counter() - started)


async def cpu_us_per_stream(client: Client, count: int) -> float:
    async def ask() -> None:
        last = await client.ask(STREAM, stream=True)
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
    clients: dict[str, Client] = {
        "httpx": Httpx(upstream, httpx_transport()),
        "httpx-aiohttp": Httpx(upstream, aiohttp_transport()),
        "aiohttp": Aiohttp(upstream),
        "chorus": Chorus(upstream),
    }
    rates: dict[str, list[float]] = {name: [] for name in clients}
    costs: dict[str, list[float]] = {name: [] for name in clients}
    for client in clients.values():
        await requests_per_second(client, 200)
    for _ in range(rounds):
        for name, client in clients.items():
            rates[name].append(await requests_per_second(client, 1000))
            costs[name].append(await cpu_us_per_stream(client, 100))
    for client in clients.values():
        await client.aclose()
    rate = {name: statistics.median(values) for name, values in rates.items()}
    cost = {name: statistics.median(values) for name, values in costs.items()}
    for name in clients:
        print(f"{name:<14} {rate[name]:6.0f} requests/s   {cost[name]:6.0f} us CPU per 100-chunk stream")
    for other in ("httpx", "httpx-aiohttp", "aiohttp"):
        print(
            f"chorus ÷ {other:<14} {rate['chorus'] / rate[other]:5.2f} x requests"
            f"   {cost['chorus'] / cost[other]:5.2f} x CPU"
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
