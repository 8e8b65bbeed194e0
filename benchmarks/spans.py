"""What traces of OpenTelemetry cost: CPU per relayed request with every request sampled and
exported, over that without traces.

    python -m benchmarks.spans
    python -m benchmarks.spans --starts 5 --rounds 3

Two servers on one core, one of which exports over OTLP to a receiver on the other core; rounds
alternate between them, after one that warms up. Two starts of the same program differ by up to a
tenth, so the pair is started several times, and the figure is the median over the starts of the
median ratio of each. A relayed request has one span, and one more where it waited for 1 ms. Exit
code 1 when the bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from typing import Final

import uvloop

from tests.kit.otlp import OtlpReceiver

from .load import Load
from .processes import LOAD_CORE, Cost, chorus, pin, scripted_upstream
from .requests import chat_request

BAR: Final = 1.10
_MODEL: Final = "m-0-0-4"
_COUNT: Final = 500
_CONCURRENCY: Final = 16
_CONFIG: Final = """
[[model]]
name = "{name}"
api_base = "{upstream}"
api_key = "bench"
"""


async def _round(base: str, cost: Cost) -> float:
    """CPU milliseconds of one request."""
    async with Load(base, _CONCURRENCY) as load:
        before = cost.cpu_ms()
        await load.run(chat_request(_MODEL), _COUNT)
        return (cost.cpu_ms() - before) / _COUNT


def _start(rounds: int, config: str, receiver: OtlpReceiver) -> tuple[float, float]:
    """Start both servers; the medians of their CPU milliseconds a request, with traces and
    without, so that their quotient is the median ratio of the rounds."""
    environments: tuple[dict[str, str], ...] = ({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}, {})
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(chorus(config, environ)) for environ in environments]
        sides = [(server.base, Cost(server.pid)) for server in servers]

        async def run() -> list[tuple[float, ...]]:
            return [tuple([await _round(*side) for side in sides]) for _ in range(rounds + 1)]

        used = uvloop.run(run())[1:]  # the first warms up
    plain = statistics.median(plain for _, plain in used)
    return plain * statistics.median(traced / plain for traced, plain in used), plain


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    pin(LOAD_CORE)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(OtlpReceiver())
        config = _CONFIG.format(name=_MODEL, upstream=stack.enter_context(scripted_upstream()))
        starts = [_start(options.rounds, config, receiver) for _ in range(options.starts)]
        receiver.wait(lambda spans: len(spans) >= options.starts * (options.rounds + 1) * _COUNT)
    ratios = sorted(traced / plain for traced, plain in starts)
    ratio = statistics.median(ratios)
    traced, plain = map(statistics.median, zip(*starts, strict=True))
    is_good = ratio <= BAR
    print(
        f"with traces {traced:.3f} ms   without {plain:.3f} ms   ratio {ratio:.2f} (bar {BAR}; "
        f"starts {ratios[0]:.2f} to {ratios[-1]:.2f}){'' if is_good else '   ABOVE THE BAR'}"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
