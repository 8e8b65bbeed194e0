"""How much of each part a rate of requests takes: docs/SCALING.md, for inputs of yours.

    python -m benchmarks.capacity
    python -m benchmarks.capacity --rates 50,500 --pieces 400 --gateway-us 350 --cores 8
    python -m benchmarks.capacity --simulate

The counts are formulas over the inputs, which are printed. `--simulate` adds what `queueing.py`
says of one host with its share of the requests: what queues add to an answer. Nothing is measured
here.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from .modelled import Costs, Parts, Served, Traffic, open_loop


@dataclass(frozen=True)
class Inputs:
    """What a plan begins with. Times of CPU in microseconds."""

    gateway_us: float = 1050.0
    piece_us: float = 45.0
    store_us: float = 500.0
    balancer_us: float = 100.0
    balancer_piece_us: float = 13.0
    redis_us: float = 95.0
    pieces: float = 200.0
    first_secs: float = 0.5
    pieces_per_sec: float = 50.0
    request_bytes: float = 4000.0
    piece_bytes: float = 270.0
    stream_kb: float = 55.0
    process_mb: float = 70.0
    cores: float = 8.0
    use: float = 0.5
    worker_pieces_per_sec: float = 2000.0
    series: float = 300.0


HELP = {
    "gateway_us": "CPU of a gateway for a request",
    "piece_us": "CPU of a gateway for each piece of a stream on top of that",
    "store_us": "CPU of a gateway for the records of a request in Redis",
    "balancer_us": "CPU of the load balancer for a request",
    "balancer_piece_us": "CPU of the load balancer for each piece on top of that",
    "redis_us": "CPU of Redis for all its operations of a request",
    "pieces": "pieces of an answer; 0: no streams",
    "first_secs": "seconds until an upstream's first token",
    "pieces_per_sec": "pieces a second of one stream",
    "request_bytes": "bytes of a request",
    "piece_bytes": "bytes of a piece on the wire",
    "stream_kb": "resident memory of an open stream, in KiB",
    "process_mb": "resident memory of an idle gateway process, in MiB",
    "cores": "cores of a host; each has one gateway process",
    "use": "share of a gateway's cores that may be busy",
    "worker_pieces_per_sec": "pieces a second of one inference worker, all its streams together",
    "series": "time series of one gateway process",
}


@dataclass(frozen=True)
class Plan:
    """What `rate` requests a second take."""

    rate: float
    busy_cores: float
    hosts: int
    open: float
    memory_mb: float
    descriptors: float
    mbit: float
    balancer_cores: float
    redis_cores: float
    workers: int
    series: float


def plan(rate: float, at: Inputs) -> Plan:
    """Return the counts for `rate` requests a second.

    Memory and descriptors are those of a host.
    """
    busy = rate * (at.gateway_us + at.store_us + at.pieces * at.piece_us) / 1e6
    # a host may fail and the others carry its share; one host is the case without that
    hosts = math.ceil(busy / (at.cores * at.use))
    hosts += hosts > 1 or rate >= 100
    still_open = rate * seconds_open(at)
    return Plan(
        rate=rate,
        busy_cores=busy,
        hosts=hosts,
        open=still_open,
        memory_mb=at.cores * at.process_mb + still_open / hosts * at.stream_kb / 1024,
        descriptors=2 * still_open / hosts,
        mbit=rate * (at.request_bytes + at.pieces * at.piece_bytes) * 8 / 1e6,
        balancer_cores=rate * (at.balancer_us + at.pieces * at.balancer_piece_us) / 1e6,
        redis_cores=rate * at.redis_us / 1e6,
        workers=math.ceil(rate * at.pieces / at.worker_pieces_per_sec / 0.7),
        series=hosts * at.cores * at.series,
    )


def seconds_open(at: Inputs) -> float:
    """Return how long a request is open, without queues."""
    return at.first_secs + max(at.pieces - 1, 0) / at.pieces_per_sec


def simulate(of: Plan, at: Inputs) -> Served:
    """Return what one host does with its share; Redis has the operations of all."""
    gap = 1 / at.pieces_per_sec
    traffic = Traffic("planned", "", at.first_secs, gap, int(at.pieces), clients=0, count=0)
    parts = Parts(
        gateway=Costs((at.gateway_us + at.store_us) / 1e6, at.piece_us / 1e6),
        upstream=Costs(0.0),
        load=Costs(0.0),
        redis=Costs(at.redis_us / 1e6),
        redis_operations=1,
        redis_secs=0.0005,
    )
    share = of.rate / of.hosts
    return open_loop(
        traffic,
        parts,
        rate=share,
        hosts=1,
        cores=int(at.cores),
        processes=int(at.cores),
        redis_rate=of.rate - share,
        secs=max(2.0, min(100_000 / (share * (at.pieces + 4)), 60.0)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", default="10,100,1000,10000", help="requests a second")
    parser.add_argument("--simulate", action="store_true", help="what queues add, for each rate")
    for one in fields(Inputs):
        option = "--" + one.name.replace("_", "-")
        parser.add_argument(option, type=float, default=one.default, help=HELP[one.name])
    options = parser.parse_args(arguments)
    at = Inputs(**{one.name: getattr(options, one.name) for one in fields(Inputs)})
    print("inputs: " + ", ".join(f"{one.name} {getattr(at, one.name):g}" for one in fields(at)))
    for rate in map(float, options.rates.split(",")):
        of = plan(rate, at)
        print(
            f"{rate:8g}/s  gateways {of.busy_cores:7.2f} cores busy, {of.hosts:3d} hosts of {at.cores:g}; "
            f"open {of.open:7.0f}; a host {of.memory_mb:6.0f} MiB, {of.descriptors:6.0f} descriptors; "
            f"{of.mbit:7.1f} Mbit/s; balancer {of.balancer_cores:6.2f} cores; "
            f"Redis {of.redis_cores:5.2f} cores; workers {of.workers:5d}; series {of.series:7.0f}"
        )
        if options.simulate:
            seen = simulate(of, at)
            print(
                f"{'':10}simulated: queues and CPU add {seen.p50:.1f} ms (median), {seen.p99:.1f} ms "
                f"(99th percentile); busiest process {seen.busy:.0%}, Redis {seen.redis_busy:.0%}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
