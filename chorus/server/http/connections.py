"""All connections of a server: the clock of each, and the bytes that wait on all together.

One look a second goes over all of them. A timer for each state of each connection would cost every
request; a look costs 0.3 µs for each connection that is open. A clock may therefore be up to a
second late.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from chorus.errors import ChorusError
from chorus.server.http.progress import Progress
from chorus.telemetry.metrics import Metrics

_log = structlog.get_logger("chorus.server")

AbortReason = Literal["write_timeout", "write_buffers"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a client may take in each state of its connection, in seconds, and what may wait for
    all of them, in bytes."""

    request_secs: float = 60.0
    """From connecting to the first byte of a request, and from there to the end of its body."""
    body_rate: float = 16 * 1024
    """Bytes a second; a body that comes as fast as this over `request_secs` gets as long again."""
    idle_secs: float = 75.0
    """Between requests. Longer than any client's pool keeps a connection: the side that is about to
    send closes first, and no request is lost in a connection that is just being closed."""
    write_secs: float = 60.0
    """For taking some of the bytes that wait."""
    max_write_bytes: int = 256 * 1024 * 1024
    """Bytes that wait in write buffers, of all connections together: 256 MiB are 4,000 clients that
    take nothing, at uvicorn's 64 KiB each."""

    @property
    def look_secs(self) -> float:
        """How often the connections are looked at."""
        return min(1.0, min(self.request_secs, self.idle_secs, self.write_secs) / 8)


class Connection(Protocol):
    """What is known of one connection here."""

    progress: Progress
    due: float
    """When its clock runs out, in the event loop's time."""

    def overdue(self) -> None:
        """Act on a clock that has run out, and set another one."""

    def check_held_back(self) -> None:
        """Close it where nothing is read from it for now, and the client has left."""

    def abort(self, reason: AbortReason) -> None:
        """Close at once; what waits is dropped."""


class Connections:
    """The open connections of one server."""

    def __init__(self, bounds: Bounds, metrics: Metrics) -> None:
        self.bounds = bounds
        self._metrics = metrics
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        """Bytes in write buffers: of each connection, when it was last looked at."""

    def add(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Watch `connection` from now on."""
        self._open.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self.bounds.look_secs, self._look, loop)

    def discard(self, connection: Connection) -> None:
        """Watch `connection` no longer: it is closed."""
        if connection in self._open:
            self._open.remove(connection)
            self._waiting -= connection.progress.waiting

    def buffer_changed(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Look at `connection`, whose write buffer has become full, or is no longer; the largest
        buffers are dropped where all together hold too much."""
        now = loop.time()
        before = connection.progress.waiting
        self._waiting += connection.progress.look(now) - before
        if self._waiting > self.bounds.max_write_bytes:
            self._look_at_buffers(now)

    def aborted(self, reason: AbortReason, **details: object) -> None:
        """Log and count a connection that was closed at once."""
        self._metrics.connection_aborted(reason)
        _log.warning("a connection was aborted", reason=reason, **details)

    def refused(self, error: ChorusError, request_id: str) -> None:
        """Log and count a request that no application has seen."""
        self._metrics.request("other", "none", error.status, 0.0, error.code)
        _log.info("refused", status=error.status, error=error.code, request_id=request_id)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Act on every clock that has run out; look again later while a connection is open."""
        now = loop.time()
        try:
            for connection in tuple(self._open):
                if now >= connection.due:
                    connection.overdue()
                connection.check_held_back()
            self._look_at_buffers(now)
        except Exception:  # the next look must come, whatever is wrong with one connection
            _log.exception("looking at the connections failed")
        self._timer = loop.call_later(self.bounds.look_secs, self._look, loop) if self._open else None

    def _look_at_buffers(self, now: float) -> None:
        """Abort connections whose clients read nothing, and the largest where all hold too much."""
        self._waiting = 0
        filled: list[Connection] = []
        for connection in tuple(self._open):
            progress = connection.progress
            waiting = progress.look(now)
            if not waiting or progress.stalled_since is None:
                continue
            self._waiting += waiting
            if now - progress.stalled_since >= self.bounds.write_secs:
                self._abort(connection, "write_timeout")
            else:
                filled.append(connection)
        if self._waiting <= self.bounds.max_write_bytes:
            return
        stalled_at = now - self.bounds.look_secs

        def worth(connection: Connection) -> tuple[bool, int]:
            """Return those who take nothing go first, the largest buffer before others."""
            since = connection.progress.stalled_since
            return since is not None and since <= stalled_at, connection.progress.waiting

        for connection in sorted(filled, key=worth, reverse=True):
            self._abort(connection, "write_buffers")
            if self._waiting <= self.bounds.max_write_bytes:
                return

    def _abort(self, connection: Connection, reason: AbortReason) -> None:
        self.discard(connection)
        connection.abort(reason)
