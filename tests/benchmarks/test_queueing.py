"""The simulation of processes that share cores, against what is known without it."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks import capacity
from benchmarks.modelled import Costs, Parts, Traffic, throughput
from benchmarks.queueing import Emit, Host, Process, Simulation, Wait, Work

PLAIN = Traffic("plain", "", 0.02, 0.0, 0, clients=64, count=0)
PARTS = Parts(gateway=Costs(0.001), upstream=Costs(0.0002), load=Costs(0.0001))


def test_a_process_computes_one_thing_at_a_time_and_waits_take_no_cpu() -> None:
    host = Host(2)
    process, ends = Process("p", host), []
    simulation = Simulation([host])
    for _ in range(2):
        simulation.begin([Wait(1.0), Work(process, 0.5)], ends.append)
    simulation.run(10.0)
    assert ends == [1.5, 2.0]


def test_processes_share_a_core_evenly() -> None:
    host, ends = Host(1), []
    simulation = Simulation([host])
    for secs in (1.0, 2.0):
        simulation.begin([Work(Process("p", host), secs)], ends.append)
    simulation.run(10.0)
    assert ends == pytest.approx([2.0, 3.0])


def test_a_piece_goes_its_way_while_the_stream_goes_on() -> None:
    host, ends = Host(4), []
    piece = Work(Process("client", host), 5.0)
    simulation = Simulation([host])
    simulation.begin([Emit([piece]), Wait(1.0)], ends.append)
    simulation.run(10.0)
    assert ends == [1.0]
    assert piece.process.used == 5.0


def test_a_queue_of_even_work_waits_as_pollaczek_and_khinchin_say() -> None:
    """At 80 % of one process, work of 10 ms each waits for 20 ms on average."""
    host, rng, waited = Host(1), Random(3), []
    process, simulation = Process("p", host), Simulation([host])

    def arrive() -> None:
        began = simulation.now
        simulation.at(began + rng.expovariate(80), arrive)
        simulation.begin([Work(process, 0.01)], lambda at: waited.append(at - began - 0.01))

    simulation.at(0.0, arrive)
    simulation.run(600.0)
    assert sum(waited) / len(waited) == pytest.approx(0.02, rel=0.1)


def test_the_narrowest_part_decides_the_throughput() -> None:
    def of(processes: int, cores: float) -> float:
        return throughput(PLAIN, PARTS, processes=processes, cores=cores, is_spread=True, secs=2.0)

    assert of(1, 4) == of(1, 4)
    assert of(1, 4) == pytest.approx(1000, rel=0.05)
    assert of(2, 8) == pytest.approx(2000, rel=0.05)
    assert of(4, 2) == pytest.approx(2 / 0.0013, rel=0.05)


def test_a_plan_keeps_a_spare_host_and_its_simulation_is_below_its_bound() -> None:
    inputs = capacity.Inputs(pieces=0)
    of = capacity.plan(2000, inputs)
    assert of.hosts == 2
    assert capacity.plan(10, inputs).hosts == 1
    seen = capacity.simulate(of, inputs)
    assert seen.rate == pytest.approx(1000, rel=0.05)
    assert seen.busy < inputs.use
