"""Gateways, their upstream, their clients and what is between, as a model for `queueing.py`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from random import Random

from .queueing import Emit, Host, Process, Simulation, Step, Wait, Work

WARM_UP_SECS = 2.0


@dataclass(frozen=True)
class Costs:
    """CPU seconds of one part: for a request, and for each piece of a stream on top of that."""

    request: float
    piece: float = 0.0


@dataclass(frozen=True)
class Traffic:
    """Requests of one kind. `first_secs` is what the upstream waits before its answer, `gap_secs`
    what it waits before each further piece. `pieces` is 0 for an answer that is no stream."""

    name: str
    model: str
    first_secs: float
    gap_secs: float
    pieces: int
    clients: int
    count: int

    @property
    def is_stream(self) -> bool:
        return self.pieces > 0


@dataclass(frozen=True)
class Parts:
    """What each part costs. `gateway` is one process's; `redis` is per operation, and goes with a
    round trip of `redis_secs` for each of `redis_operations` before the upstream is called."""

    gateway: Costs
    upstream: Costs
    load: Costs
    balancer: Costs = Costs(0.0)
    redis: Costs = Costs(0.0)
    redis_operations: int = 0
    redis_secs: float = 0.0


@dataclass(frozen=True)
class Stations:
    """The processes that one request meets."""

    gateway: Process
    upstream: Process
    load: Process
    balancer: Process | None = None
    redis: Process | None = None


def steps_of(traffic: Traffic, parts: Parts, at: Stations, rng: Random) -> list[Step]:
    """Return the steps of one request. What a part has to do for a request is split in two halves:
    on the way there and on the way back. Each CPU time is drawn from a gamma distribution whose
    standard deviation is half of its mean."""

    def work(process: Process | None, secs: float) -> list[Work]:
        return [Work(process, secs * rng.gammavariate(4.0, 0.25))] if process and secs else []

    def back(costs: float) -> list[Work]:
        return [
            *work(at.upstream, parts.upstream.request * costs),
            *work(at.gateway, parts.gateway.request * costs),
            *work(at.balancer, parts.balancer.request * costs),
            *work(at.load, parts.load.request * costs),
        ]

    def piece() -> list[Work]:
        return [
            *work(at.gateway, parts.gateway.piece),
            *work(at.balancer, parts.balancer.piece),
            *work(at.load, parts.load.piece),
        ]

    steps: list[Step] = list(reversed(back(0.5)))
    for _ in range(parts.redis_operations):
        steps += [*work(at.redis, parts.redis.request), Wait(parts.redis_secs)]
    steps.append(Wait(traffic.first_secs))
    for number in range(traffic.pieces):
        steps += [Wait(traffic.gap_secs)] if number else []
        steps += [*work(at.upstream, parts.upstream.piece), Emit(piece())]
    return [*steps, *back(0.5)]


def throughput(
    traffic: Traffic,
    parts: Parts,
    *,
    processes: int,
    cores: float,
    is_spread: bool,
    seed: int = 16,
    secs: float = 10.0,
) -> float:
    """Return the requests a second of `traffic.clients` clients that ask again as soon as they have
    an answer. Everything runs on one host of `cores` cores. A client keeps its connection, which
    chance gives to a process; with `is_spread` each request goes to the next process."""
    rng = Random(seed)
    host = Host(cores)
    gateways = [Process(f"gateway {number}", host) for number in range(processes)]
    upstream, load = Process("upstream", host), Process("load", host)
    balancer = Process("balancer", host) if parts.balancer.request else None
    simulation = Simulation([host])
    answered: list[float] = []
    turns = 0

    def ask(own: Process) -> None:
        nonlocal turns
        turns += 1
        gateway = gateways[turns % processes] if is_spread else own
        stations = Stations(gateway, upstream, load, balancer)

        def done(at: float) -> None:
            answered.append(at)
            ask(own)

        simulation.begin(steps_of(traffic, parts, stations, rng), done)

    for _ in range(traffic.clients):
        own = rng.choice(gateways)
        simulation.at(rng.random() * 0.1, lambda own=own: ask(own))  # type: ignore[misc]
    simulation.run(WARM_UP_SECS + secs)
    return sum(at > WARM_UP_SECS for at in answered) / secs


@dataclass(frozen=True)
class Served:
    """What one run of `open_loop` gave. Times in milliseconds that the gateway's side adds to what
    the upstream takes; `busy` is the share of time that the busiest gateway process computes."""

    rate: float
    p50: float
    p99: float
    busy: float
    redis_busy: float


def open_loop(
    traffic: Traffic,
    parts: Parts,
    *,
    rate: float,
    hosts: int,
    cores: int,
    processes: int,
    redis_rate: float | None = None,
    seed: int = 16,
    secs: float = 10.0,
) -> Served:
    """Return what `hosts` hosts of `cores` cores do with `rate` requests a second that come as they
    like (Poisson), each given to the next of `processes` gateway processes of a host. Upstreams,
    clients and Redis have machines of their own. `redis_rate`: operations a second of others."""
    rng = Random(seed)
    machines = [Host(cores) for _ in range(hosts)]
    elsewhere = Host(1000.0)
    gateways = [
        Process(f"{number}.{place}", machine) for place in range(processes) for number, machine in enumerate(machines)
    ]
    balancer, redis = Process("balancer", elsewhere), Process("redis", elsewhere)
    aside = Process("others", elsewhere)
    simulation = Simulation([*machines, elsewhere])
    at_upstream = traffic.first_secs + traffic.gap_secs * max(traffic.pieces - 1, 0)
    warm = WARM_UP_SECS + at_upstream  # as many streams begin as end
    added: list[float] = []
    used: dict[Process, float] = {}
    turns = 0

    def arrive() -> None:
        nonlocal turns
        simulation.at(simulation.now + rng.expovariate(rate), arrive)
        turns += 1
        stations = Stations(gateways[turns % len(gateways)], aside, aside, balancer, redis)
        began = simulation.now

        def done(at: float) -> None:
            if at > warm:
                added.append(at - began - at_upstream)

        simulation.begin(steps_of(traffic, parts, stations, rng), done)

    def other() -> None:
        assert redis_rate
        simulation.at(simulation.now + rng.expovariate(redis_rate), other)
        simulation.begin([Work(redis, parts.redis.request)])

    simulation.at(0.0, arrive)
    if redis_rate:
        simulation.at(0.0, other)
    simulation.at(warm, lambda: used.update({each: each.used for each in [*gateways, redis]}))
    simulation.run(warm + secs)
    cuts = statistics.quantiles(added, n=100)
    return Served(
        rate=len(added) / secs,
        p50=cuts[49] * 1000,
        p99=cuts[98] * 1000,
        busy=max(each.used - used[each] for each in gateways) / secs,
        redis_busy=(redis.used - used[redis]) / secs,
    )
