"""`GET /metrics`, for Prometheus (O2)."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from chorus.server.http.wire import send_text
from chorus.service import Chorus
from chorus.telemetry.metrics import CONTENT_TYPE


class MetricsPage:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page."""
        await send_text(send, self._chorus.metrics.page(), CONTENT_TYPE)
