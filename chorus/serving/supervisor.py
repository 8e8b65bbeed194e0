"""Which worker is started, and when.

How all of them are stopped: the decisions behind `chorus serve --workers` (A8, C12).

Above: `processes.py`, which runs it on real processes. Nothing here waits or knows the system; a
test gives it a clock and processes of its own.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from chorus.tasks import surviving

_log = structlog.get_logger("chorus.supervisor")

FIRST_DELAY_SECS: Final = 1.0
LONGEST_DELAY_SECS: Final = 30.0
STEADY_SECS: Final = 60.0
"""A worker that has lived so long died of something new: the next one comes quickly again."""

ECHO_SECS: Final = 1.0
"""A signal so soon after another one is the same: terminals, shells and `timeout` repeat them.

They send to whole groups, and some receivers pass it on.
"""

_RELOAD: Final = getattr(signal, "SIGHUP", None)  # Windows has none


class Backoff:
    """How long a worker's place stays empty: twice as long each time, unless the last one lived."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY_SECS

    def after(self, lived: float) -> float:
        """Seconds until the next one, after one that lived for `lived` seconds."""
        if lived >= STEADY_SECS:
            self._delay = FIRST_DELAY_SECS
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY_SECS)
        return delay


class Process(Protocol):
    """A worker that runs."""

    @property
    def pid(self) -> int: ...

    def tell(self, number: int) -> None:
        """Pass the signal `number` on to it. One that has just ended does not get it."""

    def kill(self) -> None:
        """End it at once. The supervisor learns of its end as of any other."""


class Starter(Protocol):
    """What the supervisor works on."""

    def start(self, number: int) -> Process:
        """Start the worker of this number; raises when it cannot be started."""

    def all_answer(self) -> None:
        """Called once, when every worker has reported that it answers."""

    def stopping(self) -> None:
        """Called once, when the end begins: no worker is started any more."""


@dataclass
class _Place:
    """The place of one worker. Its number stays; processes come and go."""

    number: int
    start_at: float | None
    backoff: Backoff = field(default_factory=Backoff)
    process: Process | None = None
    started_at: float = 0.0
    is_ready: bool = False


class Supervisor:
    """Keeps `count` workers running until `stop` is called.

    Whoever drives it says what has happened (`ready`, `ended`, `signalled`), calls `tick`
    afterwards and at `next_at`, and is done when `is_over`; `exit_code` is then the command's.
    """

    def __init__(self, count: int, starter: Starter, *, stop_secs: float, now: Callable[[], float]) -> None:
        """`stop_secs` after the first signal whatever still runs is killed.

        `now` gives seconds that never go back.
        """
        self._starter = starter
        self._stop_secs = stop_secs
        self._now = now
        self._places = [_Place(number, start_at=now()) for number in range(count)]
        self._is_up = False
        self._signals = 0
        self._signalled_at = -math.inf
        self._kill_at: float | None = None
        self.exit_code = 0

    @property
    def is_stopping(self) -> bool:
        return self._kill_at is not None

    @property
    def is_over(self) -> bool:
        """All have ended, and none is to come."""
        return self.is_stopping and not self._running()

    @property
    def next_at(self) -> float:
        """When `tick` has something to do, by the clock; infinity for never."""
        if self._kill_at is not None:
            return self._kill_at
        return min((place.start_at for place in self._places if place.start_at is not None), default=math.inf)

    def tick(self) -> None:
        """Do what has become due: start a worker, or kill those that did not stop."""
        now = self._now()
        if self._kill_at is None:
            for place in self._places:
                if place.start_at is not None and place.start_at <= now and not self.is_stopping:
                    self._start(place)
        elif self._kill_at <= now:
            self._kill()

    def ready(self, number: int) -> None:
        """The worker `number` answers."""
        self._places[number].is_ready = True
        if not self._is_up and all(place.is_ready for place in self._places):
            self._is_up = True
            # nobody reads standard output any more
            with surviving("that all workers answer could not be announced"):
                self._starter.all_answer()

    def ended(self, number: int, code: int) -> None:
        """The worker `number` is gone.

        `code` is its exit code, or the negative number of the signal that ended it.

        Before all have answered, what ended one would end the next one as well: it is the end of
        everything. Afterwards another one takes its place.
        """
        place = self._places[number]
        lived = self._now() - place.started_at
        place.process, place.is_ready = None, False
        if self.is_stopping:
            return
        if not self._is_up:
            _log.error("a worker did not start", worker=number, exit_code=code)
            self.exit_code = max(code, 1)
            self._stop(signal.SIGTERM)
            return
        delay = place.backoff.after(lived)
        place.start_at = self._now() + delay
        _log.error("a worker died", worker=number, exit_code=code, lived_secs=round(lived, 1), restart_in_secs=delay)

    def signalled(self, number: int) -> None:
        """The parent got the signal `number`.

        SIGHUP is passed on. The first one that stops is, too; the second makes the workers hurry,
        as Ctrl-C does with one process; the third kills them.
        """
        if number == _RELOAD:
            self._tell(number)
            return
        if self._now() < self._signalled_at + ECHO_SECS:
            return
        self._signalled_at = self._now()
        self._signals += 1
        if self._signals > 2:
            self._kill()
        elif self.is_stopping:
            self._tell(signal.SIGINT)
        else:
            self._stop(number)

    def _start(self, place: _Place) -> None:
        place.start_at, place.started_at = None, self._now()
        try:
            place.process = self._starter.start(place.number)
        except Exception as error:  # the place is not to stay empty, whatever it was
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            _log.error("a worker could not be started", worker=place.number, error=why)
            self.ended(place.number, 1)
        else:
            _log.info("a worker was started", worker=place.number, pid=place.process.pid)

    def _stop(self, number: int) -> None:
        self._kill_at = self._now() + self._stop_secs
        with surviving("the address is still taken"):
            self._starter.stopping()
        self._tell(number)

    def _kill(self) -> None:
        self._kill_at = math.inf
        for process in self._running():
            _log.error("a worker did not stop and is killed", pid=process.pid)
            with surviving("a worker could not be killed"):
                process.kill()

    def _tell(self, number: int) -> None:
        for process in self._running():
            with surviving("a signal could not be passed on"):
                process.tell(number)

    def _running(self) -> list[Process]:
        return [place.process for place in self._places if place.process is not None]
