"""Sending a run to its client: the status line held until it is decided, heartbeats while nothing comes, one terminal
event (A5, W8)."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from starlette.types import Send

from chorus.errors import ChorusError
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.journal import Journal
from chorus.server.dialects.base import Encoder
from chorus.server.framing import Framer
from chorus.server.wire import Header


class StreamResponse:
    """One streamed response."""

    def __init__(
        self, send: Send, encoder: Encoder, framer: Framer, headers: Sequence[Header], heartbeat_secs: float
    ) -> None:
        self._send = send
        self._encoder = encoder
        self._framer = framer
        self._headers = headers
        self._heartbeat_secs = heartbeat_secs if framer.heartbeat is not None else None
        self.committed = False
        """True once the status line is out: from then on an error is an event of the stream."""

    async def follow(self, journal: Journal, *, held: bool = True) -> ChorusError | None:
        """Send `journal` as it grows.

        What one look finds leaves in one write. The status line is `held` until something decides it: the outward
        voice, the end, or the need of a heartbeat. Returns the error of a run that failed before that: nothing has been
        sent then, and the error can have its own status.
        """
        reader = journal.read()
        encode, in_frame = self._encoder.encode, self._framer.frame
        waiting: list[bytes] = []
        decided = not held
        while True:
            batch: Sequence[Event] | None = None
            if reader.has_news:  # nothing to wait for needs no scope, which costs more than a look
                batch = await reader.__anext__()
            else:
                with anyio.move_on_after(self._heartbeat_secs):
                    try:
                        batch = await reader.__anext__()
                    except StopAsyncIteration:
                        return None
            if batch is None:
                await self._write(self._framer.heartbeat or b"")
                continue
            over = False
            for event in batch:
                if type(event) is Delta:
                    decided = decided or event.choice is not None
                elif isinstance(event, RunFinished | RunFailed):
                    if isinstance(event, RunFailed) and not decided and not self.committed:
                        return event.error
                    over = decided = True
                for frame in encode(event):
                    waiting.append(in_frame(frame))
            if isinstance(batch[-1], RunFinished):
                waiting.append(self._framer.end())
            if waiting and (decided or self.committed):
                await self._write(b"".join(waiting), last=over)
                waiting.clear()
            if over:
                return None

    async def fail(self, error: ChorusError, at: float) -> None:
        """End a committed stream by its dialect's error event."""
        frames = self._encoder.encode(RunFailed(at, error))
        await self._write(b"".join(self._framer.frame(frame) for frame in frames), last=True)

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        if not self.committed:
            self.committed = True
            start = {"type": "http.response.start", "status": 200, "headers": [*self._framer.headers, *self._headers]}
            await self._send(start)
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
