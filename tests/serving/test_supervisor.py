"""When workers are started, started anew and stopped (A8, C12), on processes and a clock that are
none.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chorus.serving.supervisor import ECHO_SECS, LONGEST_DELAY_SECS, STEADY_SECS, Backoff, Supervisor

pytestmark = pytest.mark.requirement("A8")
STOP_SECS = 35.0
TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self.is_killed = False

    def tell(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.is_killed = True


class World:
    """A site with a clock: what was started, and what runs."""

    def __init__(self, workers: int = 2) -> None:
        self.time = 0.0
        self.pids: Iterator[int] = count(1)
        self.running: dict[int, FakeProcess] = {}
        self.started: list[int] = []
        self.announced = self.let_go = 0
        self.refuses: Exception | None = None
        self.supervisor = Supervisor(workers, self, stop_secs=STOP_SECS, now=lambda: self.time)
        self.supervisor.tick()

    def start(self, number: int) -> FakeProcess:
        if self.refuses is not None:
            raise self.refuses
        assert number not in self.running, "two processes at one place"
        assert not self.let_go, "started after the end has begun"
        self.started.append(number)
        self.running[number] = FakeProcess(next(self.pids))
        return self.running[number]

    def all_answer(self) -> None:
        self.announced += 1

    def stopping(self) -> None:
        self.let_go += 1

    def up(self) -> World:
        for number in list(self.running):
            self.supervisor.ready(number)
        return self

    def dies(self, number: int, code: int = -9) -> None:
        del self.running[number]
        self.supervisor.ended(number, code)
        self.supervisor.tick()

    def passes(self, secs: float) -> None:
        self.time += secs
        self.supervisor.tick()


def test_it_is_announced_once_when_all_answer() -> None:
    world = World(3)
    assert world.started == [0, 1, 2]
    world.supervisor.ready(2)
    world.supervisor.ready(0)
    assert world.announced == 0
    world.supervisor.ready(1)
    world.dies(1)
    world.passes(1)
    world.supervisor.ready(1)
    assert world.announced == 1


def test_the_pause_doubles_up_to_its_bound_and_begins_anew_after_a_long_life() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(7)] == [1, 2, 4, 8, 16, LONGEST_DELAY_SECS, LONGEST_DELAY_SECS]
    assert backoff.after(STEADY_SECS) == 1
    assert backoff.after(STEADY_SECS - 0.1) == 2


def test_a_dead_worker_comes_back_after_the_pause_and_not_before() -> None:
    world = World().up()
    world.dies(0)
    assert world.supervisor.next_at == 1
    world.passes(0.9)
    assert 0 not in world.running
    world.passes(0.2)
    assert 0 in world.running
    world.dies(0, code=1)  # before it answered
    assert world.supervisor.next_at == pytest.approx(3.1)
    world.passes(2)
    world.passes(STEADY_SECS)
    world.dies(0)
    assert world.supervisor.next_at == world.time + 1
    assert world.supervisor.exit_code == 0


@pytest.mark.parametrize("error", [OSError("no more processes"), ValueError(), RuntimeError("can't start new thread")])
def test_a_system_that_starts_no_process_is_asked_again(error: Exception) -> None:
    world = World().up()
    world.dies(1)
    world.refuses = error
    world.passes(1)
    assert world.supervisor.next_at == 3
    world.refuses = None
    world.passes(2)
    assert 1 in world.running


def test_what_fails_at_one_worker_is_done_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeProcess | World, *_: object) -> None:
        raise OSError("no reader", self)

    monkeypatch.setattr(World, "all_answer", fail)
    monkeypatch.setattr(World, "stopping", fail)
    world = World(3).up()
    first, *others = world.running.values()
    monkeypatch.setattr(first, "tell", partial(fail, first))
    monkeypatch.setattr(first, "kill", partial(fail, first))
    world.supervisor.signalled(HUP)
    world.supervisor.signalled(TERM)
    world.passes(STOP_SECS)
    assert [process.signals for process in others] == [[HUP, TERM]] * 2
    assert all(process.is_killed for process in others)


@pytest.mark.parametrize(("code", "exit_code"), [(2, 2), (1, 1), (0, 1), (-9, 1)])
def test_what_does_not_start_is_not_started_for_ever(code: int, exit_code: int) -> None:
    world = World(3)
    world.supervisor.ready(0)
    world.dies(1, code)
    assert [process.signals for process in world.running.values()] == [[TERM], [TERM]]
    world.passes(1)
    world.dies(0, 0)
    assert not world.supervisor.is_over
    world.dies(2, 2)
    assert world.supervisor.is_over
    assert world.supervisor.exit_code == exit_code
    assert world.announced == 0


def test_a_worker_that_cannot_be_started_at_first_is_the_end() -> None:
    world = World(1)
    world.dies(0, 1)
    assert world.supervisor.is_over
    assert world.supervisor.exit_code == 1


@pytest.mark.requirement("C12")
def test_hangup_is_passed_on_as_often_as_it_comes() -> None:
    world = World().up()
    for _ in range(3):
        world.supervisor.signalled(HUP)
    assert [process.signals for process in world.running.values()] == [[HUP] * 3] * 2
    assert not world.supervisor.is_stopping


@pytest.mark.parametrize("number", [TERM, INT])
def test_the_first_signal_drains_the_second_hurries_the_third_kills(number: int) -> None:
    world = World().up()
    first, second = world.running.values()
    world.supervisor.signalled(number)
    world.supervisor.signalled(TERM)  # an echo: a terminal or `timeout` sends to the whole group
    assert first.signals == second.signals == [number]
    assert world.let_go == 1
    world.passes(ECHO_SECS)
    world.dies(0, 0)
    world.supervisor.signalled(number)
    assert second.signals == [number, INT]
    world.passes(ECHO_SECS)
    world.supervisor.signalled(number)
    assert second.is_killed
    assert not first.is_killed
    world.dies(1)
    assert world.supervisor.is_over
    assert world.supervisor.exit_code == 0


def test_what_does_not_stop_is_killed_in_the_end() -> None:
    world = World().up()
    world.passes(100)
    world.supervisor.signalled(TERM)
    assert world.supervisor.next_at == 100 + STOP_SECS
    world.dies(0, 0)
    world.passes(STOP_SECS - 1)
    assert not world.running[1].is_killed
    world.passes(1)
    assert world.running[1].is_killed
    assert world.supervisor.next_at == math.inf
    world.dies(1)
    assert world.supervisor.is_over


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: one process at a place, none after the end, and an end
    that comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World(3)

    @precondition(lambda self: self.world.running)
    @rule(data=st.data(), code=st.integers(-15, 3))
    def dies(self, data: st.DataObject, code: int) -> None:
        self.world.dies(data.draw(st.sampled_from(sorted(self.world.running))), code)

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def answers(self, data: st.DataObject) -> None:
        self.world.supervisor.ready(data.draw(st.sampled_from(sorted(self.world.running))))

    @rule(number=st.sampled_from([TERM, INT, HUP, HUP]))
    def signalled(self, number: int) -> None:
        self.world.supervisor.signalled(number)

    @rule(secs=st.floats(0, 40))
    def passes(self, secs: float) -> None:
        self.world.passes(secs)

    @invariant()
    def every_place_is_taken_or_about_to_be(self) -> None:
        world = self.world
        if not world.supervisor.is_stopping and len(world.running) < 3:
            assert world.supervisor.next_at <= world.time + LONGEST_DELAY_SECS
        assert world.announced <= 1
        assert world.let_go == world.supervisor.is_stopping

    def teardown(self) -> None:
        self.world.supervisor.signalled(TERM)
        self.world.passes(STOP_SECS)
        if self.world.supervisor.is_stopping:
            assert all(process.is_killed for process in self.world.running.values())
        for number in list(self.world.running):
            self.world.dies(number)
        assert self.world.supervisor.is_over


AnyOrder.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestAnyOrder = AnyOrder.TestCase
