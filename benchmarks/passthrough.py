"""What passing a request through costs: CPU per request against the bare relay, and idle memory.

    python -m benchmarks.passthrough
    python -m benchmarks.passthrough --only paced,burst --rounds 3

Gateways alone on one core; the load and the upstream on the other. Rounds are short and alternate
between the gateways, so that a noisy neighbour meets all of them; the ratio is the median of the
rounds' ratios. `smg`, a gateway in Rust, is measured too where it is installed (`pip install smg`);
it has no bar. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.kit import free_port

from .load import Load
from .processes import GATEWAY_CORE, LOAD_CORE, Cost, chorus, module, pin, program, scripted_upstream
from .requests import CODE, IMAGE, MESSAGES, SHORT, TOOLS, Payload, chat_request

_WARM_UP = 3
"""Rounds that are not counted. 1,000 requests fill the store of traces."""
PLAIN, BURST, PACED = "m-0-0-4", "m-0-0-64", "m-0-20-64"

CONFIG = """
[server]
max_concurrency = 64

[limits]
requests = "1000000/second"
{models}
[workflow-integration]
json = \"\"\"{{"workers": ["m-0-0-4"], "selector": "m-0-0-4"}}\"\"\"
"""
MODEL = """
[[model]]
name = "{name}"
replicas = ["{upstream}", "{upstream}"]
api_key = "bench"
max_concurrency = 64
"""


@dataclass(frozen=True)
class Row:
    """One kind of request. `bar` is the most that its CPU may be, divided by the relay's."""

    name: str
    model: str
    payload: Payload
    bar: float
    count: int
    concurrency: int = 16

    @property
    def is_stream(self) -> bool:
        return self.model != PLAIN

    @property
    def request(self) -> bytes:
        return chat_request(self.model, self.payload, stream=self.is_stream)


ROWS: Sequence[Row] = (
    Row("plain", PLAIN, SHORT, 1.1, 240),
    Row("burst", BURST, SHORT, 1.3, 160),
    Row("paced", PACED, SHORT, 1.3, 64, 32),
    Row("code", PLAIN, CODE, 2.0, 96),
    Row("code, streamed", BURST, CODE, 2.0, 96),
    Row("300 messages", PLAIN, MESSAGES, 2.0, 96),
    Row("300 messages, streamed", BURST, MESSAGES, 2.0, 96),
    Row("100 tools", PLAIN, TOOLS, 2.0, 96),
    Row("100 tools, streamed", BURST, TOOLS, 2.0, 96),
    Row("image of 10 MB", PLAIN, IMAGE, 2.0, 6, 2),
    Row("image of 10 MB, streamed", BURST, IMAGE, 2.0, 6, 2),
)
"""`paced`: 64 tokens at 50 a second, each in a packet of its own, 32 at once.

`burst`: 64 tokens in one packet.
"""


@dataclass
class Gateway:
    """One that is measured, and its CPU milliseconds per request: for each row a value per
    round.
    """

    name: str
    base: str
    cost: Cost
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)

    def median(self, row: Row) -> float:
        """CPU milliseconds of a request in the middle one of the rounds."""
        return statistics.median(self.cpu_ms[row.name])


async def measure(gateways: Sequence[Gateway], rows: Sequence[Row], rounds: int) -> None:
    """Each row: a warm-up of several rounds, then rounds in turn."""
    for row in rows:
        request = row.request
        async with contextlib.AsyncExitStack() as stack:
            loads = [await stack.enter_async_context(Load(each.base, row.concurrency)) for each in gateways]
            for round_number in range(-_WARM_UP, rounds):
                for gateway, load in zip(gateways, loads, strict=True):
                    before = gateway.cost.cpu_ms()
                    await load.run(request, row.count, is_stream=row.is_stream)
                    if round_number >= 0:
                        used = (gateway.cost.cpu_ms() - before) / row.count
                        gateway.cpu_ms.setdefault(row.name, []).append(used)


def report(row: Row, gateways: Sequence[Gateway]) -> bool:
    """Print the line of `row`; whether Chorus, the second gateway, is at or below the bar."""
    relay, ours, *others = gateways
    by_round = sorted(c / r for c, r in zip(ours.cpu_ms[row.name], relay.cpu_ms[row.name], strict=True))
    ratio = statistics.median(by_round)
    is_good = ratio <= row.bar
    beside = "".join(f"   {other.name} {other.median(row):7.3f}" for other in others)
    print(
        f"{row.name:<25} relay {relay.median(row):7.3f} ms   chorus {ours.median(row):7.3f}{beside}   "
        f"ratio {ratio:5.2f} (bar {row.bar}; rounds {by_round[0]:.2f} to {by_round[-1]:.2f})"
        f"{'' if is_good else '   ABOVE THE BAR'}"
    )
    return is_good


@contextlib.contextmanager
def rust_gateway(upstream: str) -> Iterator[Sequence[Gateway]]:
    """`smg` before the upstream, where it is installed beside this Python or on the path."""
    found = shutil.which(str(Path(sys.executable).parent / "smg")) or shutil.which("smg")
    if found is None:
        print("smg is not installed (`pip install smg`): no row for it")
        yield ()
        return
    port = free_port()
    command = [found, "launch", "--host", "127.0.0.1", "--port", str(port), "--backend", "openai"]
    command += ["--worker-urls", upstream.removesuffix("/v1"), "--log-level", "error"]
    with program(command, core=GATEWAY_CORE, port=port) as cost:
        yield (Gateway("smg", f"http://127.0.0.1:{port}", cost),)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-rss-mb", type=float, default=90.0, help="of idle Chorus")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="rows whose name begins with one of these, separated by commas")
    options = parser.parse_args()
    rows = [row for row in ROWS if row.name.startswith(tuple(options.only.split(",")))]
    pin(LOAD_CORE)
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(scripted_upstream())
        port = free_port()
        env = {"RELAY_UPSTREAM": upstream}
        cost = stack.enter_context(module("benchmarks.relay", str(port), core=GATEWAY_CORE, port=port, env=env))
        relay = Gateway("relay", f"http://127.0.0.1:{port}", cost)
        models = "".join(MODEL.format(name=name, upstream=upstream) for name in (PLAIN, BURST, PACED))
        server = stack.enter_context(chorus(CONFIG.format(models=models)))
        ours = Gateway("chorus", server.base, Cost(server.pid))
        gateways = [relay, ours, *stack.enter_context(rust_gateway(upstream))]
        rss_mb, relay_rss_mb = ours.cost.rss_mb(), relay.cost.rss_mb()
        uvloop.run(measure(gateways, rows, options.rounds))
        loaded_mb = ours.cost.rss_mb()
    print("CPU per request")
    reports = [report(row, gateways) for row in rows]
    ours_mb = f"chorus {rss_mb:.0f} MB idle (bar {options.max_rss_mb:.0f}), {loaded_mb:.0f} MB after load"
    print(f"memory: relay {relay_rss_mb:.0f} MB idle, {ours_mb}")
    is_good = all(reports) and rss_mb <= options.max_rss_mb
    print("ok" if is_good else "ABOVE THE BAR")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
