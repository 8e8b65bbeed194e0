"""A worker as a server: gRPC, health, reflection, metrics, registration and shutdown (I1 to I4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chorus.discovery.agent import Agent
from chorus.errors import ConfigError, Problem
from chorus.inference.engine import EngineSettings, engine_of
from chorus.inference.metrics import Metrics
from chorus.inference.registering import advertised, registering
from chorus.inference.servicer import WorkerServicer
from chorus.inference.slots import Slots
from chorus.telemetry.tracing import NO_TRACING, Tracing
from chorus.worker.v1 import inference_pb2, inference_pb2_grpc

SERVICE: Final = inference_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Of a request: the gateway takes bodies of 50 MiB."""
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    # a gateway that is gone without a word: its answers stop
    ("grpc.keepalive_timeout_ms", 10_000),
    # a gateway asks each 30 s whether a slow model lives
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
_STOP_SECS: Final = 2.0
"""What each step of stopping may take beyond the drain."""
_LAST_WORDS_SECS: Final = 0.2
"""How long what is written may take to go out before connections are closed."""

_log = structlog.get_logger("chorus.worker")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker serves its engine."""

    engine: str
    settings: EngineSettings
    host: str = "127.0.0.1"
    port: int = 50051
    """0: any that is free."""
    metrics_port: int | None = 8001
    """On `host`. None: no metrics are shown. 0: any that is free."""
    max_concurrency: int = 8
    max_waiting: int = 64
    drain_timeout_secs: float = 30
    consul: Agent | None = None
    """Where it registers; None: nowhere (I4)."""
    tracing: Tracing = NO_TRACING
    advertise: str | None = None
    """Where others reach it, HOST or HOST:PORT; None: where it listens."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A worker that serves."""

    port: int
    metrics_port: int | None
    metrics: Metrics


@asynccontextmanager
async def serving(worker: WorkerSettings) -> AsyncIterator[Serving]:
    """Serve the engine of `worker` while the block lasts.

    Leaving it drains: health says NOT_SERVING, new calls are refused, and those that go on have
    `drain_timeout_secs` to end.

    Raises:
        ConfigError: on entering; the engine cannot be loaded, or a port is taken.
    """
    name = worker.settings.name
    slots = Slots(worker.max_concurrency, worker.max_waiting)
    metrics = Metrics(name, lambda: slots.waiting)
    async with engine_of(worker.engine)(worker.settings) as engine:
        with _shown(metrics, worker) as metrics_port:
            servicer = WorkerServicer(name, engine, slots, metrics, worker.tracing)
            checks = health.aio.HealthServicer()
            server = grpc.aio.server(options=_OPTIONS)
            inference_pb2_grpc.add_WorkerServicer_to_server(servicer, server)
            health_pb2_grpc.add_HealthServicer_to_server(checks, server)
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
            port = _listen(server, worker)
            for service in ("", name, SERVICE):
                await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
            await server.start()
            _log.info("the worker serves", model=name, port=port, metrics_port=metrics_port)
            place = advertised(worker.advertise, worker.host, port) if worker.consul is not None else ("", 0)
            async with registering(worker.consul, name, place) as leave:
                try:
                    yield Serving(port, metrics_port, metrics)
                finally:
                    with anyio.CancelScope(shield=True):
                        await _drain(server, servicer, checks, leave, worker.drain_timeout_secs)


async def _drain(
    server: grpc.aio.Server,
    servicer: WorkerServicer,
    checks: health.aio.HealthServicer,
    leave: Callable[[], Awaitable[None]],
    secs: float,
) -> None:
    """Wait `secs` for running calls to end, then cut the rest, within `_STOP_SECS`.

    `leave` takes the worker out of its registry, so that gateways send no more. It waits for the
    answers, and not for the server: who watches its health does so for ever.
    """
    servicer.stop()
    with anyio.move_on_after(_STOP_SECS):
        await checks.enter_graceful_shutdown()
        await leave()
    with anyio.move_on_after(secs):
        await servicer.wait_idle()
    with anyio.move_on_after(_STOP_SECS):
        await server.stop(_LAST_WORDS_SECS)
        await servicer.wait_idle()


def _listen(server: grpc.aio.Server, worker: WorkerSettings) -> int:
    address = f"{worker.host}:{worker.port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise ConfigError([Problem("port", f"the worker cannot listen on {address}")]) from None


@contextmanager
def _shown(metrics: Metrics, worker: WorkerSettings) -> Iterator[int | None]:
    """Serve the metrics in this block, which gets the port; None where none are shown."""
    if worker.metrics_port is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            port = stack.enter_context(metrics.shown(worker.host, worker.metrics_port))
        except OSError as problem:
            address = f"{worker.host}:{worker.metrics_port}"
            reason = f"cannot listen on {address}: {problem.strerror}"
            raise ConfigError([Problem("metrics_port", reason)]) from None
        yield port
