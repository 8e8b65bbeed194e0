"""Gateways on one machine: processes of one server, servers behind nginx, with a Redis."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit import ServerProcess, free_port
from tests.kit.programs import RedisServer

from .processes import Cost, program

CONFIG = """
[storage]
url = "{store}"

[limits]
requests = "1000000/second"
"""
MODEL = """
[[model]]
name = "{name}"
api_base = "{upstream}"
api_key = "bench"
"""
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream chorus {{
    {servers}
    keepalive 1024;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://chorus;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Layout:
    """What answers at `base`: the processes `gateways`, and what stands before and behind them."""

    name: str
    base: str
    gateways: Sequence[Cost]
    balancer: Cost | None = None
    redis: Cost | None = None


def config(upstream: str, models: Sequence[str], store: str = "memory:") -> str:
    """Return a configuration with these models of the scripted upstream, and a rate limit."""
    entries = "".join(MODEL.format(name=name, upstream=upstream) for name in models)
    return CONFIG.format(store=store) + entries


@contextlib.contextmanager
def workers(name: str, text: str, count: int, redis: Cost | None = None) -> Iterator[Layout]:
    """`chorus serve --workers COUNT`."""
    with tempfile.TemporaryDirectory(prefix="chorus-scaling-") as folder:
        path = Path(folder) / "config.toml"
        path.write_text(text, encoding="utf-8")
        args = ["serve", "--config", str(path), "--workers", str(count)]
        env = {"CHORUS_LOG": "error"}
        with ServerProcess(args=args, env=env, prefix=["/usr/bin/env"]) as server:
            gateways = [Cost(pid) for pid in children(server.pid)] or [Cost(server.pid)]
            yield Layout(name, server.base, gateways, redis=redis)


@contextlib.contextmanager
def behind_nginx(name: str, text: str, servers: int, executable: str) -> Iterator[Layout]:
    """So many servers of one process each, and nginx that gives each request to the next one."""
    with contextlib.ExitStack() as stack:
        layouts = [stack.enter_context(workers(name, text, 1)) for _ in range(servers)]
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chorus-nginx-"))
        port = free_port()
        addresses = [layout.base.removeprefix("http://") for layout in layouts]
        lines = "\n    ".join(f"server {address};" for address in addresses)
        path = Path(folder) / "nginx.conf"
        path.write_text(NGINX.format(folder=folder, servers=lines, port=port), encoding="utf-8")
        command = [executable, "-c", str(path), "-e", f"{folder}/start.log"]
        master = stack.enter_context(program(command, core=None, port=port))
        (worker,) = children(master.pid)
        gateways = [cost for layout in layouts for cost in layout.gateways]
        yield Layout(name, f"http://127.0.0.1:{port}", gateways, balancer=Cost(worker))


@contextlib.contextmanager
def with_redis(name: str, upstream: str, models: Sequence[str], count: int) -> Iterator[Layout]:
    """`chorus serve --workers COUNT` whose rate limits, traces and records are in a Redis."""
    with RedisServer() as redis:
        text = config(upstream, models, redis.url)
        with workers(name, text, count, Cost(redis.pid)) as layout:
            yield layout


def children(pid: int) -> list[int]:
    """Return the processes that the process `pid` has started and that run (Linux)."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def nginx() -> str | None:
    """Return where nginx is; None where it is not on this machine."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
