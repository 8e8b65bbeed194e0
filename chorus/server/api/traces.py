"""The traces of earlier runs (W9)."""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send

from chorus.server.http.wire import Header, send_json
from chorus.service import Chorus

_AWAY: Final = b"The storage is away: only the runs of this process are listed."


class Traces:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the trace of an earlier run (W9)."""
        await send_json(send, await self._chorus.past_runs.trace(scope["path_params"]["id"]))

    async def traces(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the newest traces, newest first."""
        headers: list[Header] = []
        newest = await self._chorus.past_runs.recent(away=partial(headers.append, (b"x-chorus-warning", _AWAY)))
        await send_json(send, {"workflows": newest}, headers=headers)
