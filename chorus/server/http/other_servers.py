"""The application under another ASGI server: a disconnect is read from `receive`.

Our own protocol calls back when the connection is lost (`DISCONNECT`). ASGI has no other way than
to wait for the next message, in a task of its own, which costs a tenth of a relayed request; it is
started for requests whose handler asks for the disconnect.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chorus.cancellation import CancelSignal
from chorus.server.http.wire import DISCONNECT


def reports_disconnects(scope: Scope) -> bool:
    """Return whether the server reports disconnects by itself."""
    return DISCONNECT in (scope.get("extensions") or ())


def reads_disconnects(scope: Scope) -> bool:
    """Return whether a disconnect is read from `receive`, as the request's body is."""
    return isinstance((scope.get("extensions") or {}).get(DISCONNECT), _ReceivedDisconnect)


async def serve_watched(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request with `app`, and signal a disconnect before the whole answer is sent.

    `app` has read the request's body before it asks for the disconnect; what `receive` still says
    of the body is dropped.
    """
    raised: Exception | None = None
    async with anyio.create_task_group() as group:
        disconnect = _ReceivedDisconnect(group, receive)

        async def guarded_send(message: Message) -> None:
            if disconnect.is_set:
                return
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                disconnect.is_answered = True
            try:
                await send(message)
            except OSError:  # what servers of ASGI 2.4 raise
                disconnect.set()

        extensions = {**(scope.get("extensions") or {}), DISCONNECT: disconnect}
        try:
            await app({**scope, "extensions": extensions}, receive, guarded_send)
        except Exception as error:  # carried past the group, which would wrap it
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


class _ReceivedDisconnect(CancelSignal):
    """A disconnect that is waited for from the first subscriber on."""

    __slots__ = ("_group", "_is_watching", "_receive", "is_answered")

    def __init__(self, group: TaskGroup, receive: Receive) -> None:
        super().__init__()
        self._group = group
        self._receive = receive
        self._is_watching = False
        self.is_answered = False
        """Whether the whole answer is sent: servers call that a disconnect, too."""

    def subscribe(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when the client disconnects; at once if it has."""
        super().subscribe(callback)
        if not self._is_watching:
            self._is_watching = True
            self._group.start_soon(self._watch)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.is_answered:
            self.set()
