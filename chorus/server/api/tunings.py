"""`/api/v1/tunings`: the outcomes of `chorus tune` in one folder of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import anyio.to_thread
import msgspec
from starlette.types import Receive, Scope, Send

from chorus.server.http.routes import Route
from chorus.server.http.wire import send_json
from chorus.tunings import Listed, TuningFolder

TUNINGS_PATH: Final = "/api/v1/tunings"


class Tunings:
    """Handlers over the folder at `path`. Files are read when they are asked for, in a thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = TuningFolder(path)

    def routes(self) -> Iterator[Route]:
        """Return the routes."""
        yield Route(TUNINGS_PATH, self.tunings, "The outcomes of `chorus tune`, newest first")
        yield Route(TUNINGS_PATH + "/{id}", self.tuning, "One outcome of `chorus tune`")

    async def tunings(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the names of the tunings."""
        newest = await anyio.to_thread.run_sync(self._folder.newest)
        await send_json(send, {"folder": self._path, "data": [_listed(one) for one in newest]})

    async def tuning(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one tuning. Raises NotFound."""
        listed, tuning = await anyio.to_thread.run_sync(self._folder.read, scope["path_params"]["id"])
        await send_json(send, {**_listed(listed), **msgspec.to_builtins(tuning)})


def _listed(one: Listed) -> dict[str, Any]:
    at = datetime.fromtimestamp(one.modified_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": one.id, "modified_at": at}
