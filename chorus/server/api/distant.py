"""Following a background response that another process makes: its end, when that has come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
from starlette.types import Scope, Send

from chorus.cancellation import run_until
from chorus.errors import ChorusError, ClientGone, Stopping, StorageUnavailable
from chorus.server.http.frames import Frame
from chorus.server.http.framing import SSE
from chorus.server.http.wire import disconnect_of
from chorus.wirejson import JSON

GOING_ON: Final = ("queued", "in_progress")
_POLL_SECS: Final = 0.5
"""Between two looks at the store, for each reader that follows."""
_ENDS: Final = {"completed": "response.completed", "incomplete": "response.incomplete"}


async def follow_distant(
    read: Callable[[], Awaitable[JSON]], scope: Scope, send: Send, *, after: int | None, heartbeat_secs: float
) -> None:
    """Send that a response has begun, and its last event as soon as `read` returns it ended. The
    events between are known to its own process only. `after` is the last sequence number that the
    reader has: then only the last event is sent, with the number behind it."""
    stream = _Stream(send, after, heartbeat_secs)
    try:
        with suppress(ClientGone):
            await run_until(disconnect_of(scope), partial(stream.follow, read))
    except anyio.get_cancelled_exc_class():  # the server stops
        with anyio.move_on_after(1, shield=True):
            await stream.fail(Stopping())
        raise


class _Stream:
    def __init__(self, send: Send, after: int | None, heartbeat_secs: float) -> None:
        self._send = send
        self._framer = SSE(None)
        self._is_new = after is None
        self._has_begun = False
        self._number = 0 if after is None else after + 1
        self._heartbeat_secs = heartbeat_secs

    async def follow(self, read: Callable[[], Awaitable[JSON]]) -> None:
        """Send everything. Raises what the first `read` does, before anything is sent."""
        response = await read()
        if self._is_new:
            await self._write(self._event("response.created", response=response))
            await self._write(self._event("response.in_progress", response=response))
        else:
            # so that the reader has its status at once
            await self._write(self._framer.heartbeat or b"")
        sent_at = anyio.current_time()
        try:
            while response["status"] in GOING_ON:
                await anyio.sleep(_POLL_SECS)
                if anyio.current_time() - sent_at >= self._heartbeat_secs:
                    sent_at = anyio.current_time()
                    await self._write(self._framer.heartbeat or b"")
                with suppress(StorageUnavailable):  # it may come back
                    response = await read()
        except ChorusError as error:  # it was deleted
            await self.fail(error)
            return
        end = _ENDS.get(response["status"], "response.failed")
        await self._write(self._event(end, response=response), is_last=True)

    async def fail(self, error: ChorusError) -> None:
        """End the stream by an error."""
        await self._write(self._event("error", code=error.code, message=error.message, param=None), is_last=True)

    def _event(self, kind: str, **fields: JSON) -> bytes:
        frame = Frame({"type": kind, "sequence_number": self._number, **fields}, kind)
        self._number += 1
        return self._framer.frame(frame)

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*self._framer.headers]})
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
