"""The journal of one run: append-only, in one order for every reader.

Above: `workflow` writes it. Below: dialect encoders, the trace, logs and metrics read it, each at
its own pace. Writing never waits, so that it works in a `finally` while being cancelled and a slow
client holds no upstream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import structlog

from chorus.errors import AnswerTooLong
from chorus.events import Delta, Event, Path, RunFailed, RunFinished
from chorus.sizes import VALUE_BYTES, size_of_delta

Observer = Callable[[Event], None]
"""Sees each event but the deltas as it is written; a reader of the journal gets the tokens. Must be
quick and must not wait; what it raises is logged and does not fail the run."""

MAX_BYTES: Final = 32 * 1024 * 1024
"""Memory of one run (`chorus/sizes.py`): for the output, and again for all inner stages together.

A model that never stops would otherwise fill it for a client that never reads.
"""

MAX_STAGE_BYTES: Final = 8 * 1024 * 1024
"""Memory of one inner stage: about two million tokens. One stage that never stops leaves room for
the others."""

MAX_BATCH: Final = 1024
"""Events that a reader gets at once: 10 ms of encoding. What a slow client has missed is longer."""

_log = structlog.get_logger("chorus.journal")


class Journal:
    """Typed events of one run, for any number of readers, late ones too."""

    def __init__(
        self, observers: Sequence[Observer] = (), *, workflow_id: str = "", max_bytes: int = MAX_BYTES
    ) -> None:
        self.workflow_id = workflow_id
        self._events: list[Event] = []
        self._observers = list(observers)
        self._max_bytes = max_bytes
        self._outer_room = self._inner_room = max_bytes
        self._stage_bytes: dict[Path, int] = {}
        self._waiting: list[tuple[int, anyio.Event]] = []
        self._subscribers: tuple[Callable[[], None], ...] = ()
        self.first_output_at: float | None = None
        """When the output for the client began, in seconds since the run started."""
        self.closed = False
        """True once the run has finished or failed: no event follows."""

    def write(self, event: Event) -> None:
        """Append `event`, and show it to every observer at once.

        Raises:
            AnswerTooLong: the answer, or the stage, is larger than a journal may be.
        """
        if type(event) is Delta:
            if event.choice is None or event.tool_calls or event.logprobs is not None or event.extra is not None:
                self._take_room(event, size_of_delta(event))
            else:  # most deltas: two calls less for each token
                self._outer_room -= VALUE_BYTES + len(event.text) + len(event.reasoning)
                if self._outer_room < 0 or self.first_output_at is None:
                    self._take_room(event, 0)
            self._events.append(event)
        else:
            # exact: asking whether an event of msgspec is an instance takes four times as long
            self.closed = type(event) is RunFinished or type(event) is RunFailed
            self._events.append(event)
            for observer in self._observers:
                try:  # in place: a call for each of 20 observations is 1 % of a relayed request
                    observer(event)
                except Exception:
                    _log_failure(event)
        for notify in self._subscribers:
            notify()
        if self._waiting:
            count = len(self._events)
            for beyond, news in self._waiting:
                if self.closed or count > beyond:
                    news.set()
            self._waiting = [waiting for waiting in self._waiting if not waiting[1].is_set()]

    def _take_room(self, delta: Delta, size: int) -> None:
        if delta.choice is not None:
            self._outer_room -= size
            if self._outer_room < 0:
                raise AnswerTooLong("The answer grew beyond what one run may hold in memory and was stopped.")
            if self.first_output_at is None:
                self.first_output_at = delta.at
            return
        self._inner_room -= size
        used = self._stage_bytes[delta.path] = self._stage_bytes.get(delta.path, 0) + size
        if self._inner_room < 0 or used > MAX_STAGE_BYTES:
            self._inner_room += size
            raise AnswerTooLong("The answer of this stage grew beyond what one run may hold in memory and was stopped.")

    def observe(self, observer: Observer) -> None:
        """Show `observer` each event, those included that it has missed."""
        for event in self._events:
            if type(event) is not Delta:
                try:
                    observer(event)
                except Exception:
                    _log_failure(event)
        self._observers.append(observer)

    def release_observers(self) -> None:
        """Show no event to the observers any more, and let go of what they hold."""
        self._observers.clear()

    def subscribe(self, notify: Callable[[], None]) -> None:
        """Call `notify` after each event. It must be quick, must not wait and must not raise."""
        self._subscribers = (*self._subscribers, notify)

    def unsubscribe(self, notify: Callable[[], None]) -> None:
        """Call `notify` no more."""
        self._subscribers = tuple(subscriber for subscriber in self._subscribers if subscriber != notify)

    @property
    def size(self) -> int:
        """About how many bytes of answers the journal holds."""
        return 2 * self._max_bytes - self._outer_room - self._inner_room

    @property
    def events(self) -> Sequence[Event]:
        """The events so far."""
        return self._events

    def read(self, after: int = 0) -> Reader:
        """Return a reader of the journal from event number `after` to its end."""
        return Reader(self, after)

    async def news(self, beyond: int) -> None:
        """Wait until there are more than `beyond` events, or none will come any more."""
        while len(self._events) <= beyond and not self.closed:
            news = anyio.Event()
            self._waiting.append((beyond, news))
            await news.wait()

    async def ended(self) -> None:
        """Wait until the run is over."""
        await self.news(sys.maxsize)


def _log_failure(event: Event) -> None:
    _log.exception("an observer of a run failed", event_kind=type(event).__name__)


class Reader:
    """Reads a journal in batches: the events that are there. What an upstream sent in one read so
    leaves in one write, and nothing waits for more. Not a generator: a wait that times out loses
    nothing and can be repeated."""

    def __init__(self, journal: Journal, position: int) -> None:
        self._journal = journal
        self._position = position

    @property
    def has_news(self) -> bool:
        """Whether there are events to read at once."""
        return len(self._journal.events) > self._position

    def take(self) -> Sequence[Event]:
        """Return at most `MAX_BATCH` events that have not been read; empty where there are none."""
        batch = self._journal.events[self._position : self._position + MAX_BATCH]
        self._position += len(batch)
        return batch

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Sequence[Event]:
        await self._journal.news(self._position)
        batch = self.take()
        if not batch:
            raise StopAsyncIteration
        return batch
