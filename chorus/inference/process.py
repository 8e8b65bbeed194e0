"""A worker as a process: its log, its signals, its end (I1, I2)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Final

import anyio
import structlog

from chorus.config.worker import WorkerConfig
from chorus.discovery.agent import Agent, agent_of
from chorus.errors import ConfigError, Problem
from chorus.inference.engine import ENGINES, EngineSettings, engine_that_loads
from chorus.inference.registering import advertised
from chorus.inference.server import Serving, WorkerSettings, serving
from chorus.redaction import KNOWN
from chorus.telemetry import log
from chorus.telemetry.tracing import tracing_of

_log = structlog.get_logger("chorus.worker")

_TWINS_SECS: Final = 1.0
_LOOPBACK: Final = ("127.", "localhost", "::1", "[::1]")


def run_worker(config: WorkerConfig, name: str, chat_template: str | None) -> None:
    """Serve the model `name` until SIGTERM or SIGINT.

    Then drain and return. A second signal, a second later or more, ends the process.

    Raises:
        ConfigError: the engine cannot be loaded, or a port is taken.
    """
    log.configure(os.environ.get("CHORUS_LOG", "info"), sensitive=os.environ.get("CHORUS_LOG_SENSITIVE") == "1")
    log.take_over()
    settings = worker_settings(config, name, chat_template)
    if not config.host.startswith(_LOOPBACK):
        warning = f"{config.host}:{config.port} can be reached from other machines, and nobody has to show a key."
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    # grpc.aio polls by its own loop
    anyio.run(_serve, settings, backend_options={"use_uvloop": False})


def worker_settings(config: WorkerConfig, name: str, chat_template: str | None) -> WorkerSettings:
    """Return what the server of a worker needs.

    Raises:
        ConfigError: there is no such engine, or none that fits the model.
    """
    model = config.model or ""
    engine = config.engine or engine_that_loads(model)
    if engine is None:
        reason = "missing; expected a folder or a .gguf file that a model is in, or an http address"
        if model:
            reason = (
                f"{model} does not exist; expected a folder or a .gguf file that a model is in (nothing is downloaded)"
            )
        raise ConfigError([Problem("model", reason)])
    if engine not in ENGINES:
        raise ConfigError([Problem("engine", f"found '{engine[:40]}', expected one of {', '.join(ENGINES)}")])
    key = config.options.get("api_key")
    if isinstance(key, str):
        KNOWN.add((key,))
    return WorkerSettings(
        engine=engine,
        settings=EngineSettings(
            name=name,
            model=model,
            chat_template=chat_template,
            max_concurrency=config.max_concurrency,
            options=config.options,
        ),
        host=config.host,
        port=config.port,
        metrics_port=config.metrics_port,
        max_concurrency=config.max_concurrency,
        max_waiting=config.max_waiting,
        drain_timeout_secs=config.drain_timeout_secs,
        consul=_agent(config),
        advertise=config.advertise,
        tracing=tracing_of(os.environ, "chorus-worker"),
    )


def _agent(config: WorkerConfig) -> Agent | None:
    """Return where the worker registers itself.

    Raises:
        ConfigError: that cannot be an agent.
    """
    if config.consul is None:
        return None
    token = config.consul_token.get_secret_value() if config.consul_token is not None else None
    try:
        agent = agent_of(config.consul, token)
    except ValueError as problem:
        raise ConfigError([Problem("consul", str(problem))]) from None
    if agent.token is not None:
        KNOWN.add((agent.token,))
    advertised(config.advertise, config.host, config.port or 1)  # before an engine is loaded
    return agent


async def _serve(settings: WorkerSettings) -> None:
    async with serving(settings) as worker:
        print(_announcement(settings, worker), flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                break
        _ignore_twins()
        _log.info("the worker drains", model=settings.settings.name, at_most_secs=settings.drain_timeout_secs)


def _ignore_twins() -> None:
    """Ignore signals for a second: a group of processes often gets one more than once."""
    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        signal.signal(number, signal.SIG_IGN)

    def restore() -> None:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)

    asyncio.get_running_loop().call_later(_TWINS_SECS, restore)


def _announcement(settings: WorkerSettings, worker: Serving) -> str:
    what = f"The worker '{settings.settings.name}' ({settings.engine}) serves at grpc://{settings.host}:{worker.port}"
    if worker.metrics_port is None:
        return f"{what}."
    return f"{what}; its metrics are at http://{settings.host}:{worker.metrics_port}/metrics."
