"""Running the server in this process, for `serve` and `demo`."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import anyio
import anyio.to_thread
import structlog
import uvicorn

from chorus.admission.keys import KeyFile, KeyRing
from chorus.cli.common import keys_path
from chorus.config import Config
from chorus.errors import ChorusError, ConfigError
from chorus.server.app import build_app
from chorus.server.edge import is_loopback
from chorus.server.protocol import HttpProtocol
from chorus.service import Chorus
from chorus.telemetry import log

_log = structlog.get_logger("chorus.server")

_KEEPALIVE_SECS = 75
"""Longer than any client's pool keeps a connection: the side that is about to send closes first, and no request is lost
in a connection that is just being closed."""

_BACKLOG = 2048

_COLLECT_AFTER = (2_000, 10, 50)
"""How many more objects must have been made than freed before Python looks through the young ones for cyclic garbage, and so many
times more before it looks through the older ones, and all; nothing else runs meanwhile. By Python's own numbers (700, 10, 10) all
are looked through every few seconds while a thousand slow streams come and go, for 160 ms each time, to find nothing."""


def run_server(
    config: Config,
    host: str | None,
    port: int | None,
    announcement: str,
    reread: Callable[[], Config] | None = None,
    *,
    require_auth: bool = False,
) -> None:
    """Serve `config` until SIGINT or SIGTERM; then drain and return (A8). On SIGHUP `reread` gives the configuration that is
    served from then on (C12).

    Raises:
        ConfigError: a workflow cannot be run.
        ChorusError: the address cannot be listened on.
    """
    given = {"host": host, "port": port, "require_auth": require_auth or None}
    server = config.server.model_copy(update={name: value for name, value in given.items() if value is not None})
    config = config.model_copy(update={"server": server})
    sensitive = os.environ.get("CHORUS_LOG_SENSITIVE") == "1"
    log.configure(os.environ.get("CHORUS_LOG", "info"), sensitive=sensitive)
    chorus = Chorus(config)
    ring = None
    if server.require_auth:
        ring = KeyRing(KeyFile(Path(server.keys_file) if server.keys_file is not None else keys_path()))
    app = build_app(chorus, config, ring)
    listener = _listen(server.host, server.port)
    address = f"http://{_for_url(server.host)}:{listener.getsockname()[1]}"
    if not is_loopback(server.host) and ring is None:
        print(f"warning: {address} can be reached from other machines, and nobody has to show a key.", file=sys.stderr)
    print(announcement.format(address=address), flush=True)
    settings = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEPALIVE_SECS,
        timeout_graceful_shutdown=round(server.drain_timeout_secs),
    )
    server_process = _Server(settings, chorus, reread)
    anyio.run(server_process.serve, [listener], backend_options={"use_uvloop": True})


class _Server(uvicorn.Server):
    """uvicorn's server, which ends with exit code 0 when it was asked to stop; its own raises the signal again."""

    def __init__(self, settings: uvicorn.Config, chorus: Chorus, reread: Callable[[], Config] | None) -> None:
        super().__init__(settings)
        self._chorus = chorus
        self._reread = reread
        self._is_asked_to_reload = False

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGINT and SIGTERM while serving; afterwards the process is ending, and a second one changes nothing."""
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            signal.signal(number, self._stop)
        if self._reread is not None and hasattr(signal, "SIGHUP"):  # Windows has none
            signal.signal(signal.SIGHUP, self._ask_to_reload)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, signal.SIG_IGN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn. What is there when the server is up stays, and need not be looked through for garbage."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if self._is_asked_to_reload and self._reread is not None:
            self._is_asked_to_reload = False
            await self._reload(self._reread)
        return await super().on_tick(counter)

    async def _reload(self, reread: Callable[[], Config]) -> None:
        """Swap the configuration; a bad one is refused with all its errors, and the old one stays (C12)."""
        try:
            config = await anyio.to_thread.run_sync(reread)
            self._chorus.reload(config)
        except ConfigError as error:
            _log.error("the configuration was not reloaded", problems=error.message.splitlines())
        else:
            plans = self._chorus.snapshot.plans
            _log.info("the configuration was reloaded", source=config.source, models_and_workflows=len(plans))

    def _ask_to_reload(self, number: int, frame: FrameType | None) -> None:
        self._is_asked_to_reload = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`.

    Raises:
        ChorusError: it cannot; the sentence says why and what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        hint = "; is Chorus running already? `--port` takes another" if error.errno in (48, 98) else ""
        raise ChorusError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
    return listener


def _for_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
