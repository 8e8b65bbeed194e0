"""The ensemble's calls with nothing around them: asyncio and httpx over aiohttp, for orientation.

    python -m benchmarks.bare_loop http://127.0.0.1:9000/v1

Prints two JSON lists: seconds to the first answer token alone, and of all in waves. Used by
`critical_path`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

from .critical_path import MANY, RUNS, UPSTREAM_NAMES, WAVES, WORKERS
from .transports import aiohttp_transport

MESSAGES = [{"role": "user", "content": "Tell me something about the sea."}]


async def ensemble(client: httpx.AsyncClient) -> float:
    """One ensemble; seconds to the first answer token."""
    started = time.perf_counter()
    await _ask(client, "analyzer")
    await asyncio.gather(*(_ask(client, name) for name in WORKERS))
    await _ask(client, "selector")
    body = {"model": UPSTREAM_NAMES["synthesizer"], "messages": MESSAGES, "stream": True}
    async with client.stream("POST", "/chat/completions", json=body) as answer:
        chunks = answer.aiter_raw()
        await anext(chunks)
        first_token = time.perf_counter() - started
        async for _ in chunks:
            pass
    return first_token


async def _ask(client: httpx.AsyncClient, name: str) -> None:
    body = {"model": UPSTREAM_NAMES[name], "messages": MESSAGES}
    (await client.post("/chat/completions", json=body)).raise_for_status().json()


async def measure(upstream: str) -> tuple[list[float], list[float]]:
    transport: AiohttpTransport = aiohttp_transport()
    async with httpx.AsyncClient(base_url=upstream, transport=transport, timeout=60) as client:
        alone = [await ensemble(client) for _ in range(RUNS + 2)][2:]
        waves = [await asyncio.gather(*(ensemble(client) for _ in range(MANY))) for _ in range(WAVES + 1)]
    return alone, [seconds for wave in waves[1:] for seconds in wave]


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(sys.argv[1]))))
