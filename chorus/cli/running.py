"""Running the server in this process, for `serve` and `demo`."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import anyio
import uvicorn

from chorus.config import Config
from chorus.errors import ChorusError
from chorus.server.app import build_app
from chorus.server.edge import is_loopback
from chorus.server.protocol import HttpProtocol
from chorus.service import Chorus
from chorus.telemetry import log

_KEEPALIVE_SECS = 75
"""Longer than any client's pool keeps a connection: the side that is about to send closes first, and no request is lost
in a connection that is just being closed."""

_BACKLOG = 2048


def run_server(config: Config, host: str | None, port: int | None, announcement: str) -> None:
    """Serve `config` until SIGINT or SIGTERM; then drain and return (A8).

    Raises:
        ConfigError: a workflow cannot be run.
        ChorusError: the address cannot be listened on.
    """
    server = config.server.model_copy(update={k: v for k, v in (("host", host), ("port", port)) if v is not None})
    config = config.model_copy(update={"server": server})
    sensitive = os.environ.get("CHORUS_LOG_SENSITIVE") == "1"
    log.configure(os.environ.get("CHORUS_LOG", "info"), sensitive=sensitive)
    app = build_app(Chorus(config), config)
    listener = _listen(server.host, server.port)
    address = f"http://{_for_url(server.host)}:{listener.getsockname()[1]}"
    if not is_loopback(server.host):
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
    anyio.run(_Server(settings).serve, [listener], backend_options={"use_uvloop": True})


class _Server(uvicorn.Server):
    """uvicorn's server, which ends with exit code 0 when it was asked to stop; its own raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGINT and SIGTERM while serving; afterwards the process is ending, and a second one changes nothing."""
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, signal.SIG_IGN)

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
