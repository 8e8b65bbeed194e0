"""`chorus health`: whether a server or a worker is well, for health checks of containers."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from chorus.errors import ChorusError, NotSupported

EXAMPLE = "chorus health http://127.0.0.1:11435"

_SERVER: Final = "http://127.0.0.1:{port}"
_WORKER: Final = "grpc://127.0.0.1:{port}"
_MAX_BODY: Final = 4096
"""Bytes of an answer that are read: `/ready` sends 60."""
_INSTALL: Final = "this needs `pip install 'chorus-llm[grpc]'`"


def run(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help=f"The server's address, {_SERVER.format(port=11435)} otherwise; of a worker {_WORKER.format(port=50051)}.",
            show_default=False,
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask whether the process lives, not whether it is ready.")
    ] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Ask an inference worker, over gRPC.")] = False,
    service: Annotated[
        str, typer.Option("--service", help="With --worker: the model to ask for; the whole worker otherwise.")
    ] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = 3.0,
) -> None:
    """Ask a server whether it is ready: exit code 0 if so, else 1 and a sentence that says why. No
    key and no configuration is needed; without a URL, a port that a variable sets
    (CHORUS__SERVER__PORT) is taken."""
    if worker:
        if live:
            raise typer.BadParameter("a worker has one health: leave out --live")
        port = _port("50051", "CHORUS_WORKER_PORT", "CHORUS__WORKER__PORT")
        print(_ask_worker(url or _WORKER.format(port=port), service, timeout))
    else:
        if service:
            raise typer.BadParameter("--service needs --worker")
        print(
            _ask_server(
                url or _SERVER.format(port=_port("11435", "CHORUS__SERVER__PORT")),
                "/health" if live else "/ready",
                timeout,
            )
        )


def _port(default: str, *variables: str) -> str:
    """Return the port that the first of `variables` sets, as the server beside this reads it."""
    ports = (os.environ.get(name, "").strip().replace("_", "") for name in variables)
    return next((port for port in ports if port.isdecimal()), default)


def _ask_server(url: str, path: str, timeout_secs: float) -> str:
    """Return what the server says of itself, where it answers 200. No proxy of the environment is
    used: the question is for this server.

    Raises:
        ChorusError: it does not answer, or with another status.
        typer.BadParameter: `url` is no address of a server.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or parts.scheme not in kinds:
        raise typer.BadParameter("expected an address such as http://127.0.0.1:11435")
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{path}"
    connection = kinds[parts.scheme](host, port, timeout=timeout_secs)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        answer = connection.getresponse()
        body = answer.read(_MAX_BODY)
    except OSError as problem:
        raise ChorusError(f"{where} does not answer: {problem.strerror or problem}") from None
    except HTTPException:
        raise ChorusError(f"{where} does not answer in HTTP") from None
    finally:
        connection.close()
    status = _status_in(body)
    if answer.status != 200 or status is None:
        raise ChorusError(f"{where} answers {answer.status}: {status or 'no answer of Chorus'}")
    return status


def _status_in(body: bytes) -> str | None:
    """Return the `status` of an answer; None where it has none and so does not come from Chorus."""
    try:
        status = json.loads(body)["status"]
    except (ValueError, TypeError, KeyError):
        return None
    return status if isinstance(status, str) else None


def _ask_worker(url: str, service: str, timeout_secs: float) -> str:
    """Return "SERVING", where the worker says so of the model `service`.

    Raises:
        ChorusError: it does not answer, or says something else.
        NotSupported: gRPC is not installed.
    """
    try:
        from chorus.inference.probe import serving_status
    except ModuleNotFoundError:
        raise NotSupported(_INSTALL) from None
    address = url.removeprefix("grpc://").rstrip("/")
    if "://" in address or ":" not in address:
        raise typer.BadParameter("expected an address such as grpc://127.0.0.1:50051")
    status = serving_status(address, service, timeout_secs)
    if status != "SERVING":
        whom = f"the model '{service}' at {address}" if service else f"the worker at {address}"
        raise ChorusError(f"{whom} says {status}")
    return status
