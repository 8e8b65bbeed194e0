"""What a source of addresses is, and what is known of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Final, Protocol

import anyio
import structlog

from chorus.discovery.instance import Instance

_FIRST_PAUSE_SECS: Final = 0.25
_LONGEST_PAUSE_SECS: Final = 15.0

_log = structlog.get_logger("chorus.discovery")


class SourceError(Exception):
    """A source gives no answer; its text is a sentence without a secret."""


class Status:
    """How one source does. `updated_at` is the time of the event loop at its last answer."""

    def __init__(self, subject: str) -> None:
        """`subject` names what is looked for in the log."""
        self._subject = subject
        self.updated_at: float | None = None
        self.problem: str | None = None
        """Why there is no answer now; None while there is one."""
        self.errors = 0
        self._back: anyio.Event | None = None

    def answered(self) -> None:
        """Note an answer."""
        if self.problem is not None:
            _log.info("discovery answers again", subject=self._subject)
        self.updated_at, self.problem = anyio.current_time(), None
        if self._back is not None:
            self._back.set()
            self._back = None

    def failed(self, error: SourceError) -> None:
        """Note that there is no answer; the log has each reason once."""
        self.errors += 1
        self._back = self._back or anyio.Event()
        if str(error) != self.problem:
            self.problem = str(error)
            _log.warning("discovery has no answer", subject=self._subject, reason=self.problem)

    async def until_answering(self) -> None:
        """Wait until there is an answer again; return at once where there is one."""
        if self._back is not None:
            await self._back.wait()


class Source(Protocol):
    """Something that knows where the instances of a service are."""

    @property
    def description(self) -> str:
        """The question and the server that it asks, for people to read."""

    def watch(self, status: Status) -> AsyncIterator[tuple[Instance, ...]]:
        """Return the instances, as `in_order` has them, and again after each change, for ever.

        What goes wrong is noted in `status`, and tried again; it raises nothing but cancellations.
        Close it with `aclosing`.
        """
        ...

    async def look(self) -> tuple[Instance, ...]:
        """Return the instances of this moment.

        Raises:
            SourceError: there is no answer.
        """
        ...


class Pauses:
    """How long to wait after each failure in a row: longer each time, with random differences."""

    def __init__(self, rng: Random | None = None) -> None:
        self._rng = rng or Random()
        self._failures = 0

    def reset(self) -> None:
        """Note a success."""
        self._failures = 0

    def secs(self) -> float:
        """Return the seconds to wait after another failure."""
        longest = min(_FIRST_PAUSE_SECS * 2.0 ** min(self._failures, 10), _LONGEST_PAUSE_SECS)
        self._failures += 1
        return longest * self._rng.uniform(0.5, 1.0)
