"""What more processes are worth: throughput of 1, 2 and 4 here, and a simulation held to it.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --rounds 12 --secs 200 --max-error 0.3

Every layout is up the whole time, and rounds go round them, so that a noisy neighbour meets all of
them; the calmer half of the rounds counts. Nothing is pinned to a core. The simulation
(`queueing.py`, `modelled.py`) gets the CPU time per request and per piece that was measured with
one process, the share of the machine that other programs left, and nginx's own CPU time where it
stands before two servers; the throughput of no other layout is among its inputs. Processes that
share cores and caches need more CPU time for a request: a second simulation gets that of the layout
itself, so that its error is that of the queues alone. Exit code 1 when an error is beyond its bar;
the first one is not judged where other programs had more than a quarter of the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from tests.kit import free_port

from .layouts import Layout, behind_nginx, config, nginx, with_redis, workers
from .load import Load
from .modelled import Costs, Parts, Traffic, throughput
from .processes import Cost, module
from .requests import chat_request

PLAIN = Traffic("plain", "m-20-0-4", 0.02, 0.0, 0, clients=96, count=800)
STREAMS = Traffic("streams", "m-20-5-64", 0.02, 0.005, 64, clients=128, count=256)
"""64 pieces at 200 a second. Both kinds have so many clients that one process is full."""
TRAFFICS = (PLAIN, STREAMS)
CORES = len(os.sched_getaffinity(0))
CALM = 0.75
"""Share of the cores that other programs have to leave."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """One round at one layout: requests a second, CPU milliseconds per request of each part, the
    cores that other programs left, and the busiest gateway's share of the gateways' CPU time."""

    rate: float
    gateway: float
    upstream: float
    load: float
    balancer: float
    redis: float
    cores: float
    largest: float


@dataclass(frozen=True)
class Errors:
    """By how much of the measured throughput the simulated one is wrong: with the CPU times of one
    process, None where other programs had too much of the machine to judge it, and with the CPU
    times of the layout itself, so that only the queues are judged."""

    by_one: float | None
    by_own: float


Rounds = Mapping[tuple[str, str], list[Round]]
"""By layout and traffic."""


def busy_secs() -> float:
    """Return the CPU seconds of this machine so far that it, or another guest of its host, used."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


async def ask(layout: Layout, upstream: Cost, traffic: Traffic) -> Round:
    """Send one round of requests over connections of its own, after a warm-up."""
    request = chat_request(traffic.model, stream=traffic.is_stream)
    parts = [upstream, Cost(os.getpid()), layout.balancer, layout.redis, *layout.gateways]

    def used() -> list[float]:
        return [part.cpu_ms() if part else 0.0 for part in parts]

    async with Load(layout.base, traffic.clients) as load:
        await load.run(request, traffic.clients, is_stream=traffic.is_stream)
        before, busy, began = used(), busy_secs(), time.perf_counter()
        await load.run(request, traffic.count, is_stream=traffic.is_stream)
        secs, busy = time.perf_counter() - began, busy_secs() - busy
        spent = [now - then for now, then in zip(used(), before, strict=True)]
    gateways = spent[4:]
    per = [ms / traffic.count for ms in spent]
    others = max(busy - sum(spent) / 1000, 0.0) / secs
    return Round(
        rate=traffic.count / secs,
        gateway=sum(per[4:]),
        upstream=per[0],
        load=per[1],
        balancer=per[2],
        redis=per[3],
        cores=CORES - others,
        largest=max(gateways) / max(sum(gateways), 1.0),
    )


async def measure(layouts: Sequence[Layout], upstream: Cost, rounds: int, secs: float) -> Rounds:
    """Ask each layout in turn, `rounds` times, or fewer where `secs` are over; a round before them
    warms up. What needs a Redis is not asked for streams."""
    measured: dict[tuple[str, str], list[Round]] = {}
    for traffic in TRAFFICS:
        until = time.monotonic() + secs / len(TRAFFICS)
        for number in range(rounds + 1):
            if number > 1 and time.monotonic() > until:
                break
            for layout in layouts:
                if layout.redis is not None and traffic.is_stream:
                    continue
                seen = await ask(layout, upstream, traffic)
                if number:
                    measured.setdefault((layout.name, traffic.name), []).append(seen)
    return measured


def median(rounds: Sequence[Round]) -> Round:
    """Return the median of each figure, over the half of the rounds that other programs disturbed
    least."""
    calm = sorted(rounds, key=lambda one: -one.cores)[: (len(rounds) + 1) // 2]
    names = Round.__dataclass_fields__
    return Round(**{name: statistics.median(getattr(one, name) for one in calm) for name in names})


def parts_of(plain: Round, streams: Round) -> Parts:
    """Return what each part costs, from the medians of the layout with one process."""

    def costs(name: str) -> Costs:
        request, stream = getattr(plain, name) / 1000, getattr(streams, name) / 1000
        return Costs(request, max(stream - request, 0.0) / STREAMS.pieces)

    return Parts(costs("gateway"), costs("upstream"), costs("load"))


def check(layout: Layout, traffic: Traffic, rounds: Rounds, parts: Parts, one: Round) -> Errors:
    """Print a line for `layout`; return by which share of the measured rate it is wrong."""
    seen = median(rounds[layout.name, traffic.name])
    if layout.balancer is not None:
        plain = median(rounds[layout.name, PLAIN.name]).balancer / 1000
        piece = max(median(rounds[layout.name, STREAMS.name]).balancer / 1000 - plain, 0.0)
        parts = replace(parts, balancer=Costs(plain, piece / STREAMS.pieces))

    def error(costs: Parts) -> float:
        simulated = throughput(
            traffic,
            costs,
            processes=len(layout.gateways),
            cores=seen.cores,
            is_spread=layout.balancer is not None,
        )
        return simulated / seen.rate - 1

    by_one, by_own = error(parts), error(grown(parts, one, seen))
    rates = sorted(one_round.rate for one_round in rounds[layout.name, traffic.name])
    print(
        f"{layout.name:<13} measured {seen.rate:5.0f}/s ({rates[0]:.0f} to {rates[-1]:.0f})"
        f" x{seen.rate / one.rate:4.2f}  simulated {seen.rate * (1 + by_one):5.0f}/s"
        f"  error {by_one:+4.0%} (by its own CPU times {by_own:+4.0%})  CPU gateway {seen.gateway:4.2f}"
        f" upstream {seen.upstream:4.2f} load {seen.load:4.2f} nginx {seen.balancer:4.2f} ms;"
        f" {seen.cores:.2f} cores, busiest {seen.largest:.0%}"
    )
    return Errors(by_one if seen.cores >= CALM * CORES else None, by_own)


def grown(parts: Parts, one: Round, seen: Round) -> Parts:
    """Return `parts` with the CPU times of the layout itself, which processes that share cores and
    caches make longer: what is left of the error is that of the queues alone."""

    def costs(name: str) -> Costs:
        of: Costs = getattr(parts, name)
        factor = getattr(seen, name) / getattr(one, name)
        return Costs(of.request * factor, of.piece * factor)

    return replace(parts, gateway=costs("gateway"), upstream=costs("upstream"), load=costs("load"))


def report(layouts: Sequence[Layout], rounds: Rounds, max_error: float, max_own: float) -> bool:
    """Print measured and simulated throughput; whether every error is within the bar."""
    first = layouts[0].name
    parts = parts_of(median(rounds[first, PLAIN.name]), median(rounds[first, STREAMS.name]))
    for name in ("gateway", "upstream", "load"):
        costs: Costs = getattr(parts, name)
        per = f"{costs.request * 1e6:6.0f} us a request, {costs.piece * 1e6:5.1f} us a piece"
        print(f"{name:<9} {per}")
    errors = []
    for traffic in TRAFFICS:
        print(f"\n{traffic.name}, {traffic.clients} clients")
        one = median(rounds[first, traffic.name])
        for layout in layouts:
            if layout.redis is None:
                errors.append(check(layout, traffic, rounds, parts, one))
                continue
            if (layout.name, traffic.name) not in rounds:
                continue
            seen = median(rounds[layout.name, traffic.name])
            print(
                f"{layout.name:<13} measured {seen.rate:5.0f}/s x{seen.rate / one.rate:4.2f}  not simulated"
                f"  CPU gateway {seen.gateway:4.2f} Redis {seen.redis:4.2f} ms; {seen.cores:.2f} cores"
            )
    own = max(abs(error.by_own) for error in errors)
    judged = [abs(error.by_one) for error in errors if error.by_one is not None]
    is_good = own <= max_own and max(judged, default=0.0) <= max_error
    from_one = f"{max(judged):.0%} (bar {max_error:.0%})" if judged else "not judged"
    left_out = f", {len(errors) - len(judged)} rows not judged: others had the cores"
    print(
        f"\n{'ok' if is_good else 'ABOVE THE BAR'}: worst error by the CPU times of one process {from_one}"
        f"{left_out if len(judged) < len(errors) else ''}; by its own {own:.0%} (bar {max_own:.0%})"
    )
    return is_good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--secs", type=float, default=120.0, help="after which no round begins")
    parser.add_argument("--max-error", type=float, default=0.3, help="by one process")
    parser.add_argument("--max-own-error", type=float, default=0.15, help="by its own CPU times")
    options = parser.parse_args(arguments)
    models = [traffic.model for traffic in TRAFFICS]
    with contextlib.ExitStack() as stack:
        port = free_port()
        started = module("tests.kit", "--port", str(port), core=None, port=port)
        upstream, base = stack.enter_context(started), f"http://127.0.0.1:{port}/v1"
        text = config(base, models)
        layouts = [
            stack.enter_context(workers(f"{count} process{'es' * (count > 1)}", text, count)) for count in (1, 2, 4)
        ]
        executable = nginx()
        if executable is None:
            print("nginx is not on this machine: no row for it")
        else:
            layouts.append(stack.enter_context(behind_nginx("nginx, 2", text, 2, executable)))
        layouts.append(stack.enter_context(with_redis("2, with Redis", base, models, 2)))
        rounds = uvloop.run(measure(layouts, upstream, options.rounds, options.secs))
    return 0 if report(layouts, rounds, options.max_error, options.max_own_error) else 1


if __name__ == "__main__":
    sys.exit(main())
