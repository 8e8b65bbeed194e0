"""Moving the events of a run to its client as they are written, without waking a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chorus.events import Event
from chorus.journal import Journal, Reader
from chorus.server.http.body_writer import BodyWriter


class Pump:
    """Writes what comes into a journal to a client, until only the response's own task can go on:
    the run is over, or the client does not read.

    What is written to the journal in one step of the event loop leaves in one write.
    """

    def __init__(
        self,
        journal: Journal,
        reader: Reader,
        encode: Callable[[Sequence[Event]], bytes],
        writer: BodyWriter,
        heartbeat: bytes | None,
        heartbeat_secs: float | None,
    ) -> None:
        """`heartbeat` is written after each `heartbeat_secs` in which nothing was."""
        self._journal = journal
        self._reader = reader
        self._encode = encode
        self._writer = writer
        self._heartbeat = heartbeat
        self._heartbeat_secs = heartbeat_secs
        self._loop = asyncio.get_running_loop()
        self._scheduled: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._written_at = 0.0
        self._done: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Pump until the task has to go on. Raises what encoding an event raises."""
        if self._reader.has_news or self._journal.closed or not self._writer.is_ready:
            return
        self._done = self._loop.create_future()
        self._written_at = self._loop.time()
        self._journal.subscribe(self._on_news)
        self._arm()
        try:
            await self._done
        finally:
            self._journal.unsubscribe(self._on_news)
            if self._timer is not None:
                self._timer.cancel()
            if self._scheduled is not None:
                self._scheduled.cancel()
                self._scheduled = None

    def _on_news(self) -> None:
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._write_news)

    def _write_news(self) -> None:
        self._scheduled = None
        if self._journal.closed or not self._writer.is_ready:
            self._stop(None)
            return
        try:
            data = self._encode(self._reader.take())
        except Exception as error:  # raised by `run`
            self._stop(error)
            return
        if data:
            self._writer.write(data)
            self._written_at = self._loop.time()
        if self._reader.has_news:
            self._on_news()

    def _arm(self) -> None:
        """Set the timer to the next moment at which a heartbeat may be due.

        Moving it with each token costs more.
        """
        if self._heartbeat_secs is not None:
            self._timer = self._loop.call_at(self._written_at + self._heartbeat_secs, self._beat)

    def _beat(self) -> None:
        assert self._heartbeat_secs is not None
        now = self._loop.time()
        if now - self._written_at >= self._heartbeat_secs:
            if not self._writer.is_ready:
                self._stop(None)
                return
            self._writer.write(self._heartbeat or b"")
            self._written_at = now
        self._arm()

    def _stop(self, error: Exception | None) -> None:
        if self._done is None or self._done.done():
            return
        if error is not None:
            self._done.set_exception(error)
        else:
            self._done.set_result(None)
