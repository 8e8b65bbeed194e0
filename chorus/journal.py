"""The journal of one run: append-only, in one order for every reader.

Above: `workflow` writes it. Below: dialect encoders, the trace, logs and metrics read it, each at its own pace.
Writing never waits, so that it works in a `finally` while being cancelled and a slow client holds no upstream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import anyio

from chorus.errors import AnswerTooLong
from chorus.events import Delta, Event, RunFailed, RunFinished

Observer = Callable[[Event], None]
"""Sees each event but the deltas as it is written; whoever wants tokens reads the journal. Must be quick, must not wait,
must not raise."""

MAX_BYTES = 32 * 1024 * 1024
"""Text of one run kept in memory: so much of the outward voice, and as much of all inner stages. A model that never stops
would otherwise fill it for a client that never reads."""


class Journal:
    """Typed events of one run, for any number of readers, late ones too."""

    def __init__(
        self, observers: Sequence[Observer] = (), *, workflow_id: str = "", max_bytes: int = MAX_BYTES
    ) -> None:
        self.workflow_id = workflow_id
        self._events: list[Event] = []
        self._observers = list(observers)
        self._max_bytes = max_bytes
        self._voice_room = self._inner_room = max_bytes
        self._waiting: list[tuple[int, anyio.Event]] = []
        self.first_voice_at: float | None = None
        """When the outward voice began, in seconds since the run did."""
        self.closed = False
        """True once the run has finished or failed: no event follows."""

    def write(self, event: Event) -> None:
        """Append `event`, and show it to every observer at once.

        Raises:
            AnswerTooLong: the outward answer is larger than a journal may be. What inner stages say is dropped
                instead: their whole answers come with `StageFinished` anyway.
        """
        if type(event) is Delta:
            size = len(event.text) + len(event.reasoning) + 64
            if event.choice is None:
                if size > self._inner_room:
                    return
                self._inner_room -= size
            else:
                self._take_voice_room(size, event.at)
            self._events.append(event)
        else:
            self.closed = isinstance(event, RunFinished | RunFailed)
            self._events.append(event)
            for observer in self._observers:
                observer(event)
        if self._waiting:
            count = len(self._events)
            for beyond, news in self._waiting:
                if self.closed or count > beyond:
                    news.set()
            self._waiting = [waiting for waiting in self._waiting if not waiting[1].is_set()]

    def _take_voice_room(self, size: int, at: float) -> None:
        self._voice_room -= size
        if self._voice_room < 0:
            raise AnswerTooLong("The answer grew beyond what one run may hold in memory and was stopped.")
        if self.first_voice_at is None:
            self.first_voice_at = at

    def observe(self, observer: Observer) -> None:
        """Let `observer` see each event, those included that it has missed."""
        for event in self._events:
            if type(event) is not Delta:
                observer(event)
        self._observers.append(observer)

    @property
    def size(self) -> int:
        """About how much text is held, in characters."""
        return 2 * self._max_bytes - self._voice_room - self._inner_room

    @property
    def events(self) -> Sequence[Event]:
        """What has been written so far."""
        return self._events

    def read(self, after: int = 0) -> Reader:
        """Follow the journal from event number `after` to its end."""
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


class Reader:
    """Reads a journal in batches: all that stands there when it looks. What an upstream sent in one read thus leaves in
    one write, and nothing waits for more. Not a generator: a wait that times out loses nothing and can be repeated."""

    def __init__(self, journal: Journal, position: int) -> None:
        self._journal = journal
        self._position = position

    @property
    def has_news(self) -> bool:
        """Whether there is something to read at once."""
        return len(self._journal.events) > self._position

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Sequence[Event]:
        await self._journal.news(self._position)
        batch = self._journal.events[self._position :]
        if not batch:
            raise StopAsyncIteration
        self._position += len(batch)
        return batch
