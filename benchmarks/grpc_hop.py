"""What a worker and a gateway in front of an engine cost: tokens a second and the first token,
against the engine called directly.

    python -m benchmarks.grpc_hop --min-one 0.95 --min-many 0.9

The echo engine says 100 words, each after 20 ms; one stream, then sixteen at a time. First the
engine in this process, then through a worker and a gateway, each a process, in one run. Then
messages a second of the hop alone, from an engine that does not wait: the provider `grpc` in this
process reads a worker. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import uvloop

from chorus.inference.engine import EngineSettings, engine_of
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Upstream
from chorus.llm.providers.grpc_worker import provider
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message
from tests.kit import ServerProcess
from tests.kit.worker_process import WorkerProcess

WORDS = 100
DELAY_SECS = 0.02
MANY = 16
FLOOD_WORDS = 20_000
CONFIG = '[[model]]\nname = "m"\nprovider = "grpc"\napi_base = "{api_base}"\n'
TEXT = " ".join(f"w{number}" for number in range(WORDS))


@dataclass(frozen=True)
class Rate:
    """What some streams came to: words a second of one stream, and milliseconds to its first word.

    Medians.
    """

    words: float
    first_ms: float


Read = Callable[[], Awaitable[tuple[float, float]]]
"""Reads one answer and returns the seconds to its first word and to its end."""


async def measure(read: Read, streams: int) -> Rate:
    """The median of `streams` answers at a time."""
    seen = await asyncio.gather(*(read() for _ in range(streams)))
    return Rate(
        statistics.median(WORDS / whole for _, whole in seen), statistics.median(first * 1000 for first, _ in seen)
    )


async def read_upstream(upstream: Upstream, text: str) -> tuple[float, float, int]:
    """Read one answer of an upstream: the seconds to its first chunk and to its end, and its
    chunks.
    """
    began, first, count = time.perf_counter(), 0.0, 0
    async with upstream.open(Call(ChatRequest("m", (Message("user", text),)))) as chunks:
        async for _ in chunks:
            first = first or time.perf_counter() - began
            count += 1
    return first, time.perf_counter() - began, count


async def read_http(client: httpx.AsyncClient) -> tuple[float, float]:
    """Read one streamed answer of the gateway."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": TEXT}]}
    began, first = time.perf_counter(), 0.0
    last = b""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for part in answer.aiter_raw():
            first = first or time.perf_counter() - began
            last = part
    assert last.endswith(b"data: [DONE]\n\n"), last
    return first, time.perf_counter() - began


async def direct() -> tuple[Rate, Rate]:
    """The engine in this process."""
    async with engine_of("echo")(EngineSettings("m", options={"delay_secs": DELAY_SECS})) as engine:

        async def read() -> tuple[float, float]:
            first, whole, _ = await read_upstream(engine.upstream, TEXT)
            return first, whole

        await read()
        return await measure(read, 1), await measure(read, MANY)


async def through_gateway() -> tuple[Rate, Rate]:
    """The same engine in a worker, behind a gateway."""
    with (
        WorkerProcess("m", delay_secs=DELAY_SECS, max_concurrency=MANY) as worker,
        ServerProcess(CONFIG.format(api_base=worker.api_base), env={"CHORUS_LOG": "error"}) as server,
    ):
        async with httpx.AsyncClient(base_url=server.base, timeout=60, verify=False) as client:

            async def read() -> tuple[float, float]:
                return await read_http(client)

            await asyncio.gather(*(read() for _ in range(MANY)))
            return await measure(read, 1), await measure(read, MANY)


async def messages_per_second(streams: int) -> float:
    """What the hop carries: messages of an engine that does not wait, read by the provider in this
    process.
    """
    text = " ".join("w" for _ in range(FLOOD_WORDS // streams))
    with WorkerProcess("m", max_concurrency=MANY) as worker:
        clients = Clients()
        at = ReplicaAddress(worker.api_base)
        upstream = provider(ModelAddress("m", "grpc", (at,)), at, clients).upstream
        await read_upstream(upstream, TEXT)
        began = time.perf_counter()
        read = await asyncio.gather(*(read_upstream(upstream, text) for _ in range(streams)))
        took = time.perf_counter() - began
        await clients.aclose()
        return sum(count for _, _, count in read) / took


async def main(min_one: float, min_many: float) -> int:
    """Print the figures; 1 when a bar is missed."""
    alone, gateway = await direct(), await through_gateway()
    missed = 0
    for name, before, after, bar in zip(("1", str(MANY)), alone, gateway, (min_one, min_many), strict=True):
        ratio = after.words / before.words
        missed += ratio < bar
        print(
            f"{name:>3} streams: {before.words:6.1f} words/s direct, {after.words:6.1f} through worker and gateway, "
            f"ratio {ratio:.3f} (bar {bar}); first word {before.first_ms:.1f} ms, {after.first_ms:.1f} ms"
        )
    for streams in (1, MANY):
        print(f"{streams:>3} streams: {await messages_per_second(streams):,.0f} messages/s over the hop")
    return int(missed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--min-one", type=float, default=0.95, help="least ratio of words a second, one stream")
    parser.add_argument("--min-many", type=float, default=0.9, help=f"the same, {MANY} streams")
    return parser.parse_args()


if __name__ == "__main__":
    _given = _arguments()
    sys.exit(uvloop.run(main(_given.min_one, _given.min_many)))
