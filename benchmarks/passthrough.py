"""What passing a request through costs: CPU per request against the bare relay, and idle memory.

    python -m benchmarks.passthrough
    python -m benchmarks.passthrough --only paced,burst --starts 1

Gateways alone on one core; the load and the upstream on the other. Rounds are short and alternate
between the gateways, so that a noisy neighbour meets all of them. Two starts of the same program
differ by up to a tenth, so the gateways are started several times, and the ratio is the median over
the starts of the median of their rounds. `smg`, a gateway in Rust, is measured too where it is
installed (`pip install smg`); it has no bar. Exit code 1 when a bar is missed.
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
"""Rounds that are not counted."""
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


def report(row: Row, starts: Sequence[Sequence[Gateway]]) -> bool:
    """Print the line of `row`; whether Chorus, the second gateway, is at or below the bar."""
    ratios = sorted(_ratio(row, relay, ours) for relay, ours, *_ in starts)
    ratio = statistics.median(ratios)
    is_good = ratio <= row.bar
    columns = [
        (of_all[0].name, statistics.median(each.median(row) for each in of_all)) for of_all in zip(*starts, strict=True)
    ]
    print(
        f"{row.name:<25} {'   '.join(f'{name} {cpu_ms:7.3f}' for name, cpu_ms in columns)} ms   "
        f"ratio {ratio:5.2f} (bar {row.bar}; starts {ratios[0]:.2f} to {ratios[-1]:.2f})"
        f"{'' if is_good else '   ABOVE THE BAR'}"
    )
    return is_good


def _ratio(row: Row, relay: Gateway, ours: Gateway) -> float:
    """The ratio in the middle one of the rounds of one start."""
    return statistics.median(c / r for c, r in zip(ours.cpu_ms[row.name], relay.cpu_ms[row.name], strict=True))


@contextlib.contextmanager
def rust_gateway(upstream: str) -> Iterator[Sequence[Gateway]]:
    """`smg` before the upstream, where it is installed beside this Python or on the path.

    Else nothing.
    """
    found = shutil.which(str(Path(sys.executable).parent / "smg")) or shutil.which("smg")
    if found is None:
        yield ()
        return
    port = free_port()
    command = [found, "launch", "--host", "127.0.0.1", "--port", str(port), "--backend", "openai"]
    command += ["--worker-urls", upstream.removesuffix("/v1"), "--log-level", "error"]
    with program(command, core=GATEWAY_CORE, port=port) as cost:
        yield (Gateway("smg", f"http://127.0.0.1:{port}", cost),)


@contextlib.contextmanager
def started(upstream: str) -> Iterator[Sequence[Gateway]]:
    """The relay, Chorus, and `smg` where it is there, each just started."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        env = {"RELAY_UPSTREAM": upstream}
        cost = stack.enter_context(module("benchmarks.relay", str(port), core=GATEWAY_CORE, port=port, env=env))
        relay = Gateway("relay", f"http://127.0.0.1:{port}", cost)
        models = "".join(MODEL.format(name=name, upstream=upstream) for name in (PLAIN, BURST, PACED))
        server = stack.enter_context(chorus(CONFIG.format(models=models)))
        yield relay, Gateway("chorus", server.base, Cost(server.pid)), *stack.enter_context(rust_gateway(upstream))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-rss-mb", type=float, default=90.0, help="of idle Chorus")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5, help="of each start")
    parser.add_argument("--only", default="", help="rows whose name begins with one of these, separated by commas")
    options = parser.parse_args()
    rows = [row for row in ROWS if row.name.startswith(tuple(options.only.split(",")))]
    pin(LOAD_CORE)
    starts: list[Sequence[Gateway]] = []
    memory: list[tuple[float, ...]] = []
    with scripted_upstream() as upstream:
        for _ in range(options.starts):
            with started(upstream) as gateways:
                idle = [gateway.cost.rss_mb() for gateway in gateways[:2]]
                uvloop.run(measure(gateways, rows, options.rounds))
                memory.append((*idle, gateways[1].cost.rss_mb()))
            starts.append(gateways)
    print("CPU per request")
    reports = [report(row, starts) for row in rows]
    relay_mb, idle_mb, loaded_mb = map(max, zip(*memory, strict=True))
    ours = f"chorus {idle_mb:.0f} MB idle (bar {options.max_rss_mb:.0f}), {loaded_mb:.0f} MB after load"
    print(f"memory: relay {relay_mb:.0f} MB idle, {ours}")
    is_good = all(reports) and idle_mb <= options.max_rss_mb
    print("ok" if is_good else "ABOVE THE BAR")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
