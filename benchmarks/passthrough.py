"""What passing a request through costs: CPU per request against the bare relay, and idle memory.

    python -m benchmarks.passthrough --max-plain 1.3 --max-stream 1.5 --max-rss-mb 90

Gateways alone on one core; the load and the upstream on the other. Rounds alternate between the two gateways,
so that a noisy neighbour meets both. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import dataclass, field

import uvloop

from tests.kit import free_port

from .load import Load, chat_request
from .processes import GATEWAY_CORE, LOAD_CORE, Cost, chorus, module, pin, scripted_upstream

CONCURRENCY = 16
PLAIN, STREAM = "m-0-0-4", "m-0-0-64"

CONFIG = """
[server]
max_concurrency = 64

[limits]
requests = "1000000/second"

[[model]]
name = "{plain}"
replicas = ["{upstream}", "{upstream}"]
api_key = "bench"
max_concurrency = 64

[[model]]
name = "{stream}"
replicas = ["{upstream}", "{upstream}"]
api_key = "bench"
max_concurrency = 64

[workflow-integration]
json = \"\"\"{{"workers": ["{plain}"], "selector": "{plain}"}}\"\"\"
"""


@dataclass
class Gateway:
    """One of the two, and its measured CPU milliseconds per request, a value per round."""

    name: str
    base: str
    cost: Cost
    plain: list[float] = field(default_factory=list)
    stream: list[float] = field(default_factory=list)


async def measure(gateways: list[Gateway], rounds: int, count: int) -> None:
    """Warm up, then rounds in turn."""
    async with contextlib.AsyncExitStack() as stack:
        loads = [await stack.enter_async_context(Load(gateway.base, CONCURRENCY)) for gateway in gateways]
        for round_number in range(rounds + 1):
            for gateway, load in zip(gateways, loads, strict=True):
                plain = await _cpu_per_request(gateway, load, PLAIN, count, is_stream=False)
                stream = await _cpu_per_request(gateway, load, STREAM, count, is_stream=True)
                if round_number:  # round 0 warms up
                    gateway.plain.append(plain)
                    gateway.stream.append(stream)


async def _cpu_per_request(gateway: Gateway, load: Load, model: str, count: int, *, is_stream: bool) -> float:
    before = gateway.cost.cpu_ms()
    await load.run(chat_request(model, stream=is_stream), count, is_stream=is_stream)
    return (gateway.cost.cpu_ms() - before) / count


def report(kind: str, relay: list[float], chorus: list[float]) -> float:
    """Print one line; the ratio of the sums over all rounds."""
    ratio = sum(chorus) / sum(relay)
    by_round = sorted(c / r for c, r in zip(chorus, relay, strict=True))
    print(
        f"{kind:<14} relay {sum(relay) / len(relay):6.3f} ms   chorus {sum(chorus) / len(chorus):6.3f} ms   "
        f"ratio {ratio:5.2f}   (rounds {by_round[0]:.2f} to {by_round[-1]:.2f})"
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-plain", type=float, default=1.3, help="of CPU per whole answer")
    parser.add_argument("--max-stream", type=float, default=1.5, help="of CPU per stream")
    parser.add_argument("--max-rss-mb", type=float, default=90.0, help="of idle Chorus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=800, help="a round, of each kind")
    options = parser.parse_args()
    pin(LOAD_CORE)
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(scripted_upstream())
        port = free_port()
        env = {"RELAY_UPSTREAM": upstream}
        cost = stack.enter_context(module("benchmarks.relay", str(port), core=GATEWAY_CORE, port=port, env=env))
        relay = Gateway("relay", f"http://127.0.0.1:{port}", cost)
        server = stack.enter_context(chorus(CONFIG.format(plain=PLAIN, stream=STREAM, upstream=upstream)))
        ours = Gateway("chorus", server.base, Cost(server.pid))
        rss_mb, relay_rss_mb = ours.cost.rss_mb(), relay.cost.rss_mb()
        uvloop.run(measure([relay, ours], options.rounds, options.requests))
        loaded_mb = ours.cost.rss_mb()
    print(f"CPU per request at concurrency {CONCURRENCY}")
    plain = report("non-stream", relay.plain, ours.plain)
    stream = report("stream of 64", relay.stream, ours.stream)
    ours_mb = f"chorus {rss_mb:.0f} MB idle, {loaded_mb:.0f} MB after load"
    print(f"memory         relay {relay_rss_mb:.0f} MB idle   {ours_mb}")
    is_good = plain <= options.max_plain and stream <= options.max_stream and rss_mb <= options.max_rss_mb
    verdict = "ok" if is_good else "ABOVE THE BAR"
    print(f"{verdict}: ratio <= {options.max_plain} and {options.max_stream}, idle <= {options.max_rss_mb} MB")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
