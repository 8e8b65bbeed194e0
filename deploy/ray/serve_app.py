"""Chorus as an application of Ray Serve: gateways that grow with their load, and inference workers.

    CHORUS_CONFIG=$PWD/config.toml serve run --app-dir deploy/ray serve_app:app

Ray starts, counts and replaces the processes, and its proxy gives the requests to the gateways.
From a gateway to a worker goes Chorus's own gRPC: `[worker]` of the configuration says what a
worker serves, `[[model]]` where workers are.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import ray
from ray import serve
from starlette.types import ASGIApp

from chorus.auth.keys import KeyRing
from chorus.config.load import read_worker
from chorus.config.worker import WorkerConfig
from chorus.server.app import build_app
from chorus.service import Chorus
from chorus.serving.configuration import load_config
from chorus.serving.store import with_store
from chorus.serving.unpriced import key_file
from chorus.telemetry import log

PASSED_ON = ("CHORUS_CONFIG", "CHORUS_LOG", "PYTHONPATH")
"""What replicas get of the environment of `serve run`.

Secrets belong in that of the nodes: Ray keeps what an application passes on, and shows it in its
dashboard.
"""
ENVIRONMENT = {
    "env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
}
_PR_SET_PDEATHSIG = 1


def setting(name: str, default: int) -> int:
    """Return the number CHORUS_RAY_`name` of the environment of `serve run`."""
    return int(os.environ.get(f"CHORUS_RAY_{name}", default))


def build_gateway() -> ASGIApp:
    """Return Chorus as the replica serves it. Ray runs its lifespan: what it opens is closed."""
    log.configure(os.environ.get("CHORUS_LOG", "info"))
    config = with_store(load_config(None))
    ring = KeyRing(key_file(config)) if config.server.require_auth else None
    return build_app(Chorus(config), config, ring)


@serve.deployment(
    autoscaling_config={
        "min_replicas": setting("MIN_GATEWAYS", 2),
        "max_replicas": setting("MAX_GATEWAYS", 8),
        "target_ongoing_requests": setting("REQUESTS_PER_GATEWAY", 64),
    },
    max_ongoing_requests=1000,
    graceful_shutdown_timeout_s=60,
    ray_actor_options={"num_cpus": 1, "runtime_env": ENVIRONMENT},
)
@serve.ingress(build_gateway)
class Gateway:
    """One process of `chorus serve`, without its HTTP server: Ray's proxy is that."""

    def __init__(self, *workers: object) -> None:
        """`workers` makes the workers a part of this application; requests do not go through it."""


@serve.deployment(
    num_replicas=setting("WORKERS", 2),
    graceful_shutdown_timeout_s=60,
    ray_actor_options={"num_cpus": 1, "runtime_env": ENVIRONMENT},
)
class Worker:
    """One `chorus worker` as a child process. Its port is that of `[worker]` plus the rank of the
    replica, so that a replica that takes the place of another one serves at the same address. With
    `consul` in `[worker]` it registers the address of its node."""

    def __init__(self) -> None:
        path = Path(os.environ["CHORUS_CONFIG"])
        config = read_worker(path, os.environ)
        options = worker_options(config, serve.get_replica_context().rank.rank)
        command = [sys.executable, "-m", "chorus", "worker", "--config", str(path), *options]
        # a worker whose replica is killed must not keep the port
        self._process = subprocess.Popen(command, preexec_fn=_end_with_parent)  # noqa: S603

    def check_health(self) -> None:
        """Raise where the process has ended; Ray then replaces the replica."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"the inference worker has ended with exit code {code}")

    def __del__(self) -> None:
        """Let the worker finish its answers."""
        self._process.terminate()
        self._process.wait()


def worker_options(config: WorkerConfig, rank: int) -> list[str]:
    """Return the flags of `chorus worker` for the replica of this rank."""
    options = ["--port", str(config.port + rank), "--metrics-port", str(config.metrics_port + rank)]
    if config.consul is None:
        return options
    return [*options, "--advertise", f"{ray.util.get_node_ip_address()}:{config.port + rank}"]


def _end_with_parent() -> None:
    """Let Linux send SIGTERM to this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


app = Gateway.bind(Worker.bind()) if setting("WORKERS", 2) else Gateway.bind()
