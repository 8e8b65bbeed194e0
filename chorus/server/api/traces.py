"""The traces of earlier runs (W9)."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from chorus.server.http.wire import send_json
from chorus.service import Chorus


class Traces:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the trace of an earlier run (W9)."""
        await send_json(send, await self._chorus.past_runs.trace(scope["path_params"]["id"]))

    async def traces(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the newest traces, newest first."""
        await send_json(send, {"workflows": await self._chorus.past_runs.recent()})
