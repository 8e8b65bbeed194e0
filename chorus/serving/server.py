"""Running the server in this process, for `serve` and `demo`."""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import cast

import anyio
import anyio.to_thread
import structlog
import uvicorn

from chorus.auth.keys import KeyRing
from chorus.config import Config
from chorus.config.environment import SOURCE
from chorus.errors import ChorusError, ConfigError
from chorus.server.app import build_app
from chorus.server.http.connections import Bounds, Connections
from chorus.server.http.hosts import is_loopback
from chorus.server.http.protocol import HttpProtocol
from chorus.service import Chorus
from chorus.serving import watching
from chorus.serving.configuration import warn, warnings_of
from chorus.serving.store import check_store
from chorus.serving.unpriced import key_file, unpriced_warning
from chorus.tasks import surviving
from chorus.telemetry import log
from chorus.telemetry.metrics import Metrics
from chorus.telemetry.shared import SharedMetrics
from chorus.telemetry.tracing import tracing_of

_log = structlog.get_logger("chorus.server")

_BACKLOG = 2048
_HURRY_SECS = 2.0
"""How long cancelled requests may take to say so: what sends it gives up after a second."""
_RELOAD = getattr(signal, "SIGHUP", None)  # Windows has none

_COLLECT_AFTER = (10_000, 3, 30)
"""Thresholds of the garbage collection of cycles: by objects, and twice by earlier collections.

So many more objects must have been made than freed before Python looks through the young ones for
cyclic garbage, and so many times more before it looks through the older ones, and all; nothing else
runs meanwhile. By Python's own numbers (700, 10, 10) a thousand slow streams that come and go are
all looked through every few seconds, for 160 ms each time, to find nothing. These look through few
at a time, and through all of them seldom: 30 ms at most (benchmarks/slow_streams.py).
"""


def run_server(
    config: Config,
    host: str | None,
    port: int | None,
    announcement: str,
    reread: Callable[[], Config] | None = None,
    *,
    require_auth: bool = False,
    watch: bool = False,
) -> None:
    """Serve `config` until SIGINT or SIGTERM.

    Then drain and return (A8). On SIGHUP, and with `watch` when its file has changed, `reread`
    gives the configuration that is served from then on (C12).

    Raises:
        ConfigError: a workflow cannot be run, or the store can never be used.
        ChorusError: the address cannot be listened on, or something that is asked for is not
            installed.
    """
    config = with_options(config, host, port, require_auth=require_auth, watch=watch)
    server = make_server(config, reread)
    listener, address = listen(config)
    print(announcement.format(address=address), flush=True)
    anyio.run(server.run_on, listener, backend_options={"use_uvloop": True})


def with_options(config: Config, host: str | None, port: int | None, *, require_auth: bool, watch: bool) -> Config:
    """`config` with what the command line says otherwise."""
    given = {"host": host, "port": port, "require_auth": require_auth or None, "watch": watch or None}
    server = config.server.model_copy(update={name: value for name, value in given.items() if value is not None})
    return config.model_copy(update={"server": server})


def make_server(
    config: Config,
    reread: Callable[[], Config] | None,
    shared_metrics: SharedMetrics | None = None,
    *,
    started: Callable[[], object] | None = None,
) -> Server:
    """Return a server that is ready to `run_on` a socket, and the log set up.

    `started` is called when it answers.

    Raises:
        ConfigError: a workflow cannot be run, or the store can never be used.
        ChorusError: something that is asked for is not installed.
    """
    server = config.server
    sensitive = os.environ.get("CHORUS_LOG_SENSITIVE") == "1"
    log.configure(os.environ.get("CHORUS_LOG", "info"), sensitive=sensitive)
    log.take_over()
    if server.watch:
        watching.check()
    check_store(config)
    chorus = Chorus(config, shared_metrics, tracing_of(os.environ, "chorus"))
    ring = None
    if server.require_auth:
        keys = key_file(config)
        ring = KeyRing(keys)
        if (sentence := unpriced_warning(chorus.snapshot, keys.read())) is not None:
            _log.warning(sentence)
    bounds = Bounds(write_secs=server.write_timeout_secs)
    protocol = partial(HttpProtocol, connections=Connections(bounds, chorus.metrics))
    settings = uvicorn.Config(
        build_app(chorus, config, ring),
        http=cast(type[HttpProtocol], protocol),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(server.drain_timeout_secs),
    )
    watched = Path(config.source) if server.watch and reread is not None and config.source != SOURCE else None
    return Server(settings, chorus, reread, watched, lame_duck_secs=server.lame_duck_secs, started=started)


class Server(uvicorn.Server):
    """uvicorn's server, which ends with exit code 0 when it was asked to stop.

    Its own raises the signal again.
    """

    def __init__(
        self,
        settings: uvicorn.Config,
        chorus: Chorus,
        reread: Callable[[], Config] | None,
        watched: Path | None,
        *,
        lame_duck_secs: float,
        started: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(settings)
        self._chorus = chorus
        self._reread = reread
        self._watched = watched
        self._lame_duck_secs = lame_duck_secs
        self._tell_started = started
        self._is_asked_to_reload = False
        self._stop_at: float | None = None

    @property
    def metrics(self) -> Metrics:
        return self._chorus.metrics

    @property
    def is_stopping(self) -> bool:
        return self._chorus.is_stopping

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until asked to stop, then drain."""
        is_over = anyio.Event()
        async with anyio.create_task_group() as group:
            if self._watched is not None:
                group.start_soon(watching.watch, self._watched, self._ask_to_reload, is_over)
            try:
                await self.serve([listener])
            finally:
                is_over.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn.

        Afterwards requests are answered. What is there by then stays, and need not be looked
        through for garbage.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        if self._tell_started is not None:
            self._tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn.

        Where uvicorn waits no more (a second Ctrl-C), the requests that are still being answered
        are cancelled here, and what is open is closed.
        """
        await super().shutdown(sockets)
        if self.force_exit:
            for task in tuple(self.server_state.tasks):
                task.cancel()
            with anyio.move_on_after(_HURRY_SECS):
                while self.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
                    await anyio.sleep(0.01)
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGINT and SIGTERM while serving.

        Afterwards the process is ending, and a second one changes nothing.
        """
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            signal.signal(number, self.signalled)
        if self._reread is not None and _RELOAD is not None:
            signal.signal(_RELOAD, self.signalled)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, signal.SIG_IGN)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second.

        True ends the server. Raises nothing: that would end it, too.
        """
        with surviving("a tick of the server failed"):
            if self._is_asked_to_reload and self._reread is not None:
                self._is_asked_to_reload = False
                await self._reload(self._reread)
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                self.should_exit = True
            return await super().on_tick(counter)
        return self.should_exit

    async def _reload(self, reread: Callable[[], Config]) -> None:
        """Swap the configuration.

        A bad one is refused with all its errors, and the old one stays (C12).
        """
        try:
            config = await anyio.to_thread.run_sync(reread)
            self._chorus.reload(config)
        except ConfigError as error:
            _log.error("the configuration was not reloaded", problems=error.message.splitlines())
        except Exception:
            _log.exception("the configuration was not reloaded")
        else:
            for warning in warnings_of(config):
                _log.warning(warning)
            plans = self._chorus.snapshot.plans
            _log.info("the configuration was reloaded", source=config.source, models_and_workflows=len(plans))

    def _ask_to_reload(self) -> None:
        self._is_asked_to_reload = True

    def signalled(self, number: int, frame: FrameType | None = None) -> None:
        """Do what the signal `number` asks for: read the configuration again, or stop.

        Who stops is not ready from now on; who sends requests here gets time to see that before
        they are no longer let in. Somebody at the keyboard, and who asks twice, does not want to
        wait for it.
        """
        if number == _RELOAD:
            self._ask_to_reload()
            return
        is_first = not self._chorus.is_stopping
        self._chorus.is_stopping = True
        if is_first and number == signal.SIGTERM and self._lame_duck_secs:
            self._stop_at = time.monotonic() + self._lame_duck_secs
            # clients that keep connections go elsewhere with their next request, before these are
            # closed under them
            self.config.encoded_headers.append((b"connection", b"close"))
        else:
            self.handle_exit(number, frame)


def listen(config: Config) -> tuple[socket.socket, str]:
    """Return a socket that listens where `config` says, and its address.

    Warns when others can reach it.

    Raises:
        ChorusError: it cannot; the sentence says why and what to do.
    """
    host, port = config.server.host, config.server.port
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
    url = f"http://{_for_url(host)}:{listener.getsockname()[1]}"
    if not is_loopback(host) and not config.server.require_auth:
        warn(f"{url} can be reached from other machines, and nobody has to show a key.")
    return listener, url


def _for_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
