"""`GET /api/v1/upstreams`: every replica, and how it does (D4)."""

from __future__ import annotations

import anyio
from starlette.types import Receive, Scope, Send

from chorus.server.http.wire import send_json
from chorus.service import Chorus


class Upstreams:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send every replica of every model."""
        now = anyio.current_time()
        models = self._chorus.snapshot.models.values()
        upstreams = [
            {
                "model": model.name,
                "replicas": [replica.as_json(now) for replica in model.pool.replicas],
                **({"discovery": model.discovered.as_json(now)} if model.discovered is not None else {}),
            }
            for model in models
        ]
        await send_json(send, {"upstreams": upstreams})
