"""Send a run to its client: a late status line, heartbeats, and one terminal event (A5, W8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint
from starlette.types import Send

from chorus.errors import ChorusError
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.journal import MAX_BATCH, Journal, Reader
from chorus.server.http.body_writer import BodyWriter
from chorus.server.http.exchange import BODY_FOLLOWS
from chorus.server.http.frames import Encoder
from chorus.server.http.framing import Framer
from chorus.server.http.pump import Pump
from chorus.server.http.wire import Header


class StreamResponse:
    """One streamed response. With a `writer` the pieces between the first and the last go by it."""

    def __init__(
        self,
        send: Send,
        encoder: Encoder,
        framer: Framer,
        headers: Callable[[], Sequence[Header]],
        heartbeat_secs: float,
        writer: BodyWriter | None = None,
    ) -> None:
        """`headers` is called when the status line goes out."""
        self._send = send
        self._encoder = encoder
        self._framer = framer
        self._headers = headers
        self._heartbeat_secs = heartbeat_secs if framer.heartbeat is not None else None
        self._writer = writer
        self._reader: Reader | None = None
        self.before_end: Callable[[], Awaitable[object]] | None = None
        """Called when the run is over, before the last event is sent.

        Everything else is sent before.
        """
        self.committed = False
        """True once the status line is out: from then on an error is an event of the stream."""

    async def follow(self, journal: Journal, *, held: bool = True, after: int = 0) -> ChorusError | None:
        """Send `journal` as it grows, from event number `after` on.

        What stands in the journal at one look leaves in one write. The status line is `held` until
        something decides it: the answer begins, the run ends, or a heartbeat is due. Returns the
        error of a run that failed before that: nothing has been sent then, and the error can have
        its own status.
        """
        reader = self._reader = journal.read(after)
        waiting: list[bytes] = []
        decided = not held
        pump = None
        while True:
            if self.committed and self._writer is not None:
                if pump is None:
                    heartbeat = self._framer.heartbeat
                    pump = Pump(journal, reader, self._framed, self._writer, heartbeat, self._heartbeat_secs)
                await pump.run()
            batch: Sequence[Event] | None = None
            if reader.has_news:  # nothing to wait for needs no scope, which costs more than a look
                batch = reader.take()
            else:
                with anyio.move_on_after(self._heartbeat_secs):
                    try:
                        batch = await reader.__anext__()
                    except StopAsyncIteration:
                        batch = ()
            if batch is None:
                await self._write(self._framer.heartbeat or b"")
                continue
            if not batch:
                await self._write(b"", last=True)  # it had ended before `after`
                return None
            if len(batch) == MAX_BATCH:  # a late reader of a long run: others come in between
                await checkpoint()
            end = batch[-1]
            over = isinstance(end, RunFinished | RunFailed)
            decided = decided or any(type(event) is Delta and event.choice is not None for event in batch)
            if isinstance(end, RunFailed) and not decided and not self.committed:
                return end.error
            if over and self.before_end is not None:
                if data := self._framed(batch[:-1]):
                    await self._write(b"".join([*waiting, data]))
                    waiting.clear()
                batch = batch[-1:]
                await self.before_end()
            waiting.append(self._framed(batch))
            if isinstance(end, RunFinished):
                waiting.append(self._framer.end())
            if over or decided or self.committed:
                data = b"".join(waiting)
                waiting.clear()
                if data or over:
                    await self._write(data, last=over)
            if over:
                return None

    def _framed(self, events: Sequence[Event]) -> bytes:
        """Return the frames that `events` make."""
        encode, in_frame = self._encoder.encode, self._framer.frame
        if len(events) == 1:
            return b"".join([in_frame(frame) for frame in encode(events[0])])
        return b"".join([in_frame(frame) for event in events for frame in encode(event)])

    async def finish(self, journal: Journal) -> ChorusError | None:
        """Send the rest of `journal`, whose run has ended while `follow` was cancelled. Returns the
        error of a run that failed where nothing has been sent yet."""
        over = journal.events[-1]
        if not self.committed:
            return over.error if isinstance(over, RunFailed) else None
        rest: list[bytes] = []
        while self._reader is not None and (events := self._reader.take()):
            rest.append(self._framed(events))
        await self._write(b"".join(rest), last=True)
        return None

    async def fail(self, error: ChorusError, at: float) -> None:
        """End a committed stream by its dialect's error event."""
        frames = self._encoder.encode(RunFailed(at, error))
        await self._write(b"".join(self._framer.frame(frame) for frame in frames), last=True)

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        if not self.committed:
            self.committed = True
            start = {"type": "http.response.start", "status": 200, "headers": [*self._framer.headers, *self._headers()]}
            await self._send({**start, BODY_FOLLOWS: True})
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
