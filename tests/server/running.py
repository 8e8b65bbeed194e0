"""The real application under a real uvicorn on a real socket, in a thread: for tests that need a
configuration of their own, or to reach inside. What can do without goes to the `ServerProcess` that
all share (conftest.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from chorus import config as configuration
from chorus.server.app import build_app
from chorus.server.http.connections import Bounds, Connections
from chorus.server.http.protocol import HttpProtocol
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from tests.kit.changes import Changes

_STOP_SECONDS = 15.0
_CHANGE_SECONDS = 30.0


@dataclass(frozen=True)
class Running:
    """A server that runs, on `loop` in its thread."""

    base: str
    chorus: Chorus
    loop: asyncio.AbstractEventLoop
    connections: Set[Any]
    """Those that are open at the moment, uvicorn's protocols."""
    changes: Changes
    """Notified when a connection is opened, has received something, or is closed."""

    @property
    def api_base(self) -> str:
        return f"{self.base}/v1"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition over the connections."""
        await self.changes.until(condition, _CHANGE_SECONDS, lambda: f"{len(self.connections)} connections are open")


class _Watched(HttpProtocol):
    """A connection that tells of its changes."""

    def __init__(self, *args: Any, changes: Changes, **options: Any) -> None:
        super().__init__(*args, **options)
        self._changes = changes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._changes.notify()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._changes.notify()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._changes.notify()


class _Server(uvicorn.Server):
    """Says when it has started, and stops at once when `stop` is called."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self._is_stopped = asyncio.Event()
        self.up.set()

    async def main_loop(self) -> None:
        """Called by uvicorn, whose own looks every 0.1 s whether it should end."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):  # no task: tests count those of the loop
                    await self._is_stopped.wait()

    def stop(self) -> None:
        """End, from another thread."""
        self.should_exit = True
        self.loop.call_soon_threadsafe(self._is_stopped.set)


@contextlib.contextmanager
def running(
    toml_text: str, *, around: Callable[[ASGIApp], ASGIApp] = lambda app: app, bounds: Bounds | None = None
) -> Iterator[Running]:
    """Serve `toml_text` while the block lasts.

    `around` wraps the application, to see what passes; `bounds` are those of connections.
    """
    config = configuration.loads(toml_text, environ={}, find_problems=workflow_problems)
    chorus = Chorus(config)
    changes = Changes()
    connections = Connections(bounds or Bounds(), chorus.metrics)
    protocol: Any = partial(_Watched, connections=connections, changes=changes)
    settings = uvicorn.Config(
        around(build_app(chorus, config)), http=protocol, ws="none", lifespan="on", log_config=None
    )
    server = _Server(settings)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="chorus-under-test", daemon=True)
    thread.start()
    try:
        assert server.up.wait(_STOP_SECONDS), "the server did not start"
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Running(base, chorus, server.loop, server.server_state.connections, changes)
    finally:
        if server.up.is_set():
            server.stop()
        thread.join(_STOP_SECONDS)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"
