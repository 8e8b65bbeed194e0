"""One of the processes of `chorus serve --workers`.

`processes.py` starts it and says what is between the two.
"""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path

import anyio
import msgspec
import structlog

from chorus.serving.configuration import load_config, reload_config
from chorus.serving.server import Server, make_server, with_options
from chorus.serving.store import with_store
from chorus.tasks import surviving
from chorus.telemetry.metrics import Metrics
from chorus.telemetry.shared import SharedMetrics

_log = structlog.get_logger("chorus.server")

_PUBLISH_SECS = 1.0
"""Seconds that the published state of this worker may be old in a scrape of another one."""


class Assignment(msgspec.Struct, kw_only=True):
    """What a worker gets at its start: options of `chorus serve`, number, what it inherits."""

    config: str | None
    host: str | None
    port: int | None
    require_auth: bool
    watch: bool
    number: int = 0
    listener: int = -1
    """The descriptor of the socket that listens, shared by all workers."""
    channel: int = -1
    """That of the socket to the parent."""
    metrics: str = ""
    """The folder where the workers meet for `/metrics`."""


def serve(given: Assignment) -> None:
    """Serve as one of several, until the parent says so or is gone."""
    path = Path(given.config) if given.config is not None else None
    config = load_config(path)
    config = with_options(
        with_store(config), given.host, given.port, require_auth=given.require_auth, watch=given.watch
    )
    structlog.contextvars.bind_contextvars(worker=given.number)
    channel = socket.socket(fileno=given.channel)
    channel.setblocking(False)
    shared, problem = None, ""
    try:
        shared = SharedMetrics(Path(given.metrics), given.number)
    except OSError as error:  # answering goes before counting
        problem = str(error)
    server = make_server(config, partial(reload_config, path), shared, started=lambda: channel.send(b"\1"))
    if shared is None:
        _log.warning("the metrics of this worker are its own", error=problem)
    anyio.run(_serve, server, socket.socket(fileno=given.listener), channel, backend_options={"use_uvloop": True})


async def _serve(server: Server, listener: socket.socket, channel: socket.socket) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_obey, server, channel)
        group.start_soon(_publish, server.metrics)
        await server.run_on(listener)
        group.cancel_scope.cancel()


async def _obey(server: Server, channel: socket.socket) -> None:
    """Do what the parent passes on, and stop when it is gone."""
    while True:
        await anyio.wait_readable(channel)
        try:
            numbers = channel.recv(64)
        except BlockingIOError:
            continue
        except OSError:
            numbers = b""
        for number in numbers:
            with surviving("what the parent passed on could not be done"):
                server.signalled(number)
        if not numbers:
            break
    if not server.is_stopping:
        server.signalled(signal.SIGTERM)


async def _publish(metrics: Metrics) -> None:
    while True:
        with surviving("the other workers' metrics miss this one"):
            metrics.publish()
        await anyio.sleep(_PUBLISH_SECS)
