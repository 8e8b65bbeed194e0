"""`chorus worker`: an inference worker, which serves one model over gRPC (I1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from chorus import config as configuration
from chorus import wirejson
from chorus.cli.common import ConfigOption, secret_of
from chorus.config.load import default_path, read_worker
from chorus.config.worker import WorkerConfig, beside
from chorus.errors import ConfigError, Problem
from chorus.secret_files import SUFFIX

EXAMPLE = "chorus worker --model ./Qwen3-0.6B-Q4_K_M.gguf --name qwen"

_ENV: Final = "CHORUS_WORKER_"
_LISTED: Final = 10
"""Variables that one warning names: Kubernetes sets seven for each port of a service."""
_MAX_TEMPLATE: Final = 1 << 20
"""Bytes of a chat template; the longest there are have 20 KB."""


def _option(flag: str, about: str, **bounds: Any) -> Any:
    return typer.Option(f"--{flag}", envvar=_variable(flag), help=about, **bounds)


def _variable(flag: str) -> str:
    return _ENV + flag.replace("-", "_").upper()


def run(
    context: typer.Context,
    model: Annotated[str | None, _option("model", "What the engine loads: a folder, a file or an address.")] = None,
    name: Annotated[str | None, _option("name", "The name of the model for gateways.")] = None,
    engine: Annotated[
        str | None, _option("engine", "mlx-lm, llamacpp, openai or echo; else the one that fits the model.")
    ] = None,
    host: Annotated[str | None, _option("host", "The address to listen on; 127.0.0.1 otherwise.")] = None,
    port: Annotated[int | None, _option("port", "The gRPC port; 50051 otherwise.", min=0, max=65535)] = None,
    metrics_port: Annotated[
        int | None, _option("metrics-port", "The port of the metrics; 8001 otherwise.", min=0, max=65535)
    ] = None,
    max_concurrency: Annotated[
        int | None, _option("max-concurrency", "Answers that are generated at a time; 8 otherwise.", min=1)
    ] = None,
    max_waiting: Annotated[
        int | None, _option("max-waiting", "Requests that may wait; 64 otherwise. More are refused.", min=0)
    ] = None,
    drain_timeout: Annotated[
        float | None, _option("drain-timeout", "Seconds that answers have after SIGTERM; 30 otherwise.", min=0)
    ] = None,
    consul: Annotated[
        str | None, _option("consul", "The Consul agent to register at; CONSUL_HTTP_TOKEN is its token.")
    ] = None,
    advertise: Annotated[
        str | None, _option("advertise", "HOST or HOST:PORT, as others reach the worker; where it listens otherwise.")
    ] = None,
    chat_template: Annotated[
        Path | None, _option("chat-template", "A file with the Jinja template to use instead of the model's own.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", envvar=_variable("option"), help="An option of the engine, KEY=VALUE; repeatable."
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Serve one model over gRPC, as an inference worker for gateways.

    SIGTERM stops it after its answers have ended.

    Flags beat the environment (CHORUS_WORKER_MODEL and so on), which beats the table [worker] of
    the configuration. CHORUS_WORKER_API_KEY, or the file that CHORUS_WORKER_API_KEY_FILE names, is
    the key of the engine's own upstream.
    """
    _warn_of_unknown(os.environ, context)
    table, source = _table(config)
    if table.chat_template is not None:
        table = table.model_copy(update={"chat_template": str(beside(table.chat_template, source))})
    given = {
        "model": model,
        "name": name,
        "engine": engine,
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "max_concurrency": max_concurrency,
        "max_waiting": max_waiting,
        "drain_timeout_secs": drain_timeout,
        "consul": consul,
        "advertise": advertise,
        "chat_template": None if chat_template is None else str(chat_template),
        "options": {**table.options, **_api_key(), **_options(option or ())},
    }
    table = table.model_copy(update={key: value for key, value in given.items() if value is not None})
    if table.name is None:
        raise ConfigError([Problem("--name", "missing; expected what the model is called on the wire")])
    try:
        from chorus.inference.process import run_worker
    except ImportError as problem:
        reason = f"the worker needs an extra: pip install 'chorus-llm[grpc]' ({problem})"
        raise ConfigError([Problem("", reason)]) from problem
    run_worker(table, table.name, None if table.chat_template is None else _template(table.chat_template))


def _warn_of_unknown(environ: Mapping[str, str], context: typer.Context) -> None:
    """Say which variables begin as the worker's do and set nothing, such as those with a typo."""
    known = {param.envvar for param in context.command.params}
    known |= {_variable("api-key"), _variable("api-key") + SUFFIX}
    if unknown := sorted(name for name in environ if name.startswith(_ENV) and name not in known):
        listed = ", ".join(unknown[:_LISTED])
        print(f"warning: {listed}: no variable of the worker, sets nothing", file=sys.stderr)


def _table(option: Path | None) -> tuple[WorkerConfig, Path | None]:
    """Return the table [worker], and the file that it is in.

    No file is needed unless one is named.
    """
    path = None
    if option is not None or os.environ.get("CHORUS_CONFIG") or default_path(os.environ).is_file():
        path = configuration.find(option, os.environ)
    return read_worker(path, os.environ), path


def _api_key() -> Mapping[str, Any]:
    """Return the engine's key, which no flag takes: a command line is read by others."""
    key = secret_of(_variable("api-key"))
    return {"api_key": key.strip()} if key else {}


def _options(pairs: Sequence[str]) -> Mapping[str, Any]:
    """Return the engine's options in `pairs` of KEY=VALUE.

    A value is JSON where it is that, and else a text.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ConfigError([Problem("--option", "expected KEY=VALUE, such as n_ctx=4096")])
        try:
            options[key] = wirejson.decode(value.encode())
        except ValueError:
            options[key] = value
    return options


def _template(path: str) -> str:
    """Return the text of a chat template."""
    try:
        raw = Path(path).read_bytes()
        if len(raw) > _MAX_TEMPLATE:
            raise ConfigError([Problem("chat_template", f"{path} has more than {_MAX_TEMPLATE} bytes")])
        return raw.decode()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise ConfigError([Problem("chat_template", f"{path} cannot be read: {reason}")]) from problem
