"""Whether the process lives, and whether requests should be sent to it (A8)."""

from __future__ import annotations

import anyio
from starlette.types import Receive, Scope, Send

from chorus import __version__
from chorus.server.http.wire import send_json
from chorus.service import Chorus


class Health:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send that the process lives."""
        await send_json(send, {"status": "ok", "version": __version__})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send whether requests should come here: a model can answer, the server runs on (A8)."""
        now, models = anyio.current_time(), self._chorus.snapshot.models
        replicas = [replica for model in models.values() for replica in model.pool.replicas]
        status = "every upstream is quarantined" if replicas else "no instance of any model is known"
        if self._chorus.is_stopping:
            status = "stopping"
        elif any(replica.breaker.state(now) != "open" for replica in replicas):
            status = "ready"
        await send_json(send, {"status": status, "models": len(models)}, 200 if status == "ready" else 503)
