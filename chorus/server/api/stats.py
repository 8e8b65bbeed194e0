"""`GET /api/v1/stats/stream`: what the server does, a sample a second (O4).

One task takes the samples, and each is encoded once for everybody who sees the same. A reader that
is slow gets the newest sample and the number of those that it has missed: nothing is queued for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from chorus.cancellation import run_until
from chorus.errors import ClientGone
from chorus.live_stats import LiveStats
from chorus.server.http.auth import principal_of
from chorus.server.http.framing import SSE
from chorus.server.http.wire import disconnect_of
from chorus.service import Chorus
from chorus.tasks import surviving
from chorus.watch import queue_lengths, replica_states

STATS_PATH: Final = "/api/v1/stats/stream"
_END: Final = b'event: end\ndata: {"reason":"server_stopping"}\n\n'


class StatsFeed:
    """The samples of one `Chorus`, and the handler that sends them; an ASGI application. A key sees
    its own requests; an administrator's key, and a server without keys, all of them and the state
    of the replicas."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus
        self._stats = LiveStats(
            chorus.live_runs,
            lambda: replica_states(chorus.snapshot),
            lambda: queue_lengths(chorus.snapshot, chorus.admission),
        )
        self._news = anyio.Event()
        self._is_open = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take samples in this block; leaving it ends every feed."""
        self._chorus.live_runs.collect()
        async with anyio.create_task_group() as group:
            self._is_open = True
            group.start_soon(self._sample)
            try:
                yield
            finally:
                self._is_open = False
                self._news.set()
                group.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the last fifteen minutes, then every second's sample.

        It ends when the reader leaves or the server stops.
        """
        principal = principal_of(scope)
        owner = principal.owner if principal.key is not None and principal.key.role != "admin" else None
        with suppress(ClientGone):
            await run_until(disconnect_of(scope), partial(self._send, send, owner))

    async def _send(self, send: Send, owner: str | None) -> None:
        stats, sent = self._stats, self._stats.count
        await send({"type": "http.response.start", "status": 200, "headers": [*SSE.headers]})
        data = b'event: history\ndata: {"interval_secs":1,"samples":%b}\n\n' % stats.history(owner)
        await send({"type": "http.response.body", "body": data, "more_body": True})
        while self._is_open and not self._chorus.is_stopping:
            if stats.count == sent:
                await self._news.wait()
                continue
            missed, sent = stats.count - sent - 1, stats.count
            data = b"id: %d\nevent: sample\ndata: %b\n\n" % (sent, stats.sample(owner))
            if missed:
                data = b'event: missed\ndata: {"samples":%d}\n\n%b' % (missed, data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": _END, "more_body": False})

    async def _sample(self) -> None:
        """Take a sample at the end of every second."""
        while True:
            now = time.time()
            await anyio.sleep(math.floor(now) + 1 - now)
            with surviving("the sample of a second was not taken"):
                self._stats.take(time.time())
            news, self._news = self._news, anyio.Event()
            news.set()
