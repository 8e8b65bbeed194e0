"""A simulation of processes that share the cores of hosts: how many requests they answer, how fast.

A process has one thread: what it has to compute waits in the order of its arrival. On each host the
processes that have something to compute share the cores evenly, and none has more than one core, as
Linux does it. A request is a list of steps: CPU time of a process, or a wait that takes no CPU (an
upstream that thinks, a network). The source of chance has a seed: equal inputs give equal figures.

Not in it: memory, disks, the bandwidth of networks, pauses for garbage, the cost of switching
between processes, and errors.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Host:
    """A machine. `clock` is the CPU time that each of its running processes has had by `at`."""

    cores: float
    clock: float = 0.0
    at: float = 0.0
    running: list[tuple[float, int, Process]] = field(default_factory=list)
    """What each running process computes now, by the `clock` at which that is done."""

    @property
    def rate(self) -> float:
        """CPU seconds that each running process has per second."""
        return min(1.0, self.cores / len(self.running)) if self.running else 1.0

    def advance(self, now: float) -> None:
        """Let time go on to `now`."""
        self.clock += (now - self.at) * self.rate
        self.at = now

    def next_at(self) -> float:
        """When the first computation ends, if nothing else begins; infinity while none runs."""
        if not self.running:
            return math.inf
        return self.at + max(self.running[0][0] - self.clock, 0.0) / self.rate


@dataclass(eq=False)
class Process:
    """One thread on `host`. `used` is its CPU time so far, in seconds."""

    name: str
    host: Host
    waiting: deque[tuple[float, Request]] = field(default_factory=deque)
    is_busy: bool = False
    used: float = 0.0


@dataclass(frozen=True)
class Work:
    """CPU seconds of a process."""

    process: Process
    secs: float


@dataclass(frozen=True)
class Wait:
    """Seconds that pass without CPU time."""

    secs: float


@dataclass(frozen=True)
class Emit:
    """Steps that go on beside those that follow: a piece of a stream on its way to the client."""

    steps: Sequence[Work]


Step = Work | Wait | Emit


@dataclass(eq=False)
class Request:
    """What is left of a request. `done` is called with the time at which its last step ended."""

    steps: deque[Step]
    done: Callable[[float], None]


class Simulation:
    """Requests on their way through processes. `now` is the time in seconds."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.now = 0.0
        self._hosts = list(hosts)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` at the time `when`."""
        heapq.heappush(self._timers, (when, next(self._order), action))

    def begin(self, steps: Sequence[Step], done: Callable[[float], None] = lambda at: None) -> None:
        """Let a request take its first step now."""
        self._go_on(Request(deque(steps), done))

    def run(self, until: float) -> None:
        """Let time go on to `until`."""
        while True:
            host = min(self._hosts, key=Host.next_at)
            ends, timer = host.next_at(), self._timers[0][0] if self._timers else math.inf
            if min(ends, timer) > until:
                self.now = until
                return
            if timer <= ends:
                self.now, _, action = heapq.heappop(self._timers)
                action()
            else:
                self.now = ends
                self._end(host)

    def _end(self, host: Host) -> None:
        """The first computation on `host` is done: its process takes the next one."""
        host.advance(self.now)
        _, _, process = heapq.heappop(host.running)
        _, request = process.waiting.popleft()
        process.is_busy = False
        if process.waiting:
            self._start(process)
        self._go_on(request)

    def _go_on(self, request: Request) -> None:
        steps = request.steps
        while steps:
            step = steps.popleft()
            if isinstance(step, Work):
                step.process.waiting.append((step.secs, request))
                if not step.process.is_busy:
                    self._start(step.process)
                return
            if isinstance(step, Wait):
                self.at(self.now + step.secs, lambda: self._go_on(request))
                return
            self.begin(step.steps)
        request.done(self.now)

    def _start(self, process: Process) -> None:
        host = process.host
        host.advance(self.now)
        secs = process.waiting[0][0]
        process.is_busy = True
        process.used += secs
        heapq.heappush(host.running, (host.clock + secs, next(self._order), process))
