"""What every request passes on its way in and out: an id, the Host and Origin checks, the error
boundary, one log line.

Origins are checked everywhere: any page in the user's browser can POST JSON text to a local port,
and would spend their keys.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chorus.errors import ChorusError, ForbiddenOrigin, StorageUnavailable
from chorus.server.http.context import RequestContext, attach, header, request_context
from chorus.server.http.errors import ErrorStyle, as_chorus_error, error_body, error_headers, style_of
from chorus.server.http.hosts import check_host
from chorus.server.http.other_servers import reports_disconnects, serve_watched
from chorus.server.http.ratelimit import LIMIT_HEADERS, limit_headers
from chorus.server.http.routes import Paths
from chorus.server.http.wire import Header, send_json, wants_sse
from chorus.telemetry.metrics import Metrics

_log = structlog.get_logger("chorus.server")

LOCAL_ORIGIN: Final = (
    r"https?://(([A-Za-z0-9-]+\.)*localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?"
    r"|(app|capacitor|file|ionic|tauri|vscode-file|vscode-webview)://.*"
)
"""Pages of this machine and desktop applications may ask, as with Ollama."""

_CLEAN_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_PROBES: Final = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds by whatever watches the server; their lines go to debug."""


@dataclass(frozen=True, slots=True)
class EdgeRules:
    """Who may come in, and with how much. `hosts` are names besides the loopback ones, None for
    all; `near` as in `check_host`; `origins` are pages besides the local ones, with `*` for any
    characters, and `*` alone for all."""

    hosts: frozenset[str] | None = frozenset()
    near: bool = False
    origins: frozenset[str] = frozenset()
    ollama_sse: bool = False
    max_body_bytes: int = 50 * 1024 * 1024


_METHODS = {name: name for name in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")}


class Edge:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, rules: EdgeRules, metrics: Metrics, paths: Paths | None = None) -> None:
        """`paths` are those of `app`, for clients whose base URL is almost right."""
        self._app = app
        self._metrics = metrics
        self._rules = rules
        self._paths = paths
        patterns = [_pattern(origin) for origin in rules.origins if "*" in origin and origin != "*"]
        self._pages = re.compile("|".join([LOCAL_ORIGIN, *patterns]))
        self._with_cors = CORSMiddleware(
            self._answer,
            allow_origins=tuple(rules.origins),
            allow_origin_regex=self._pages.pattern,
            allow_private_network=True,
            allow_methods=("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"),
            allow_headers=("*",),
            expose_headers=(
                "x-request-id",
                "x-chorus-workflow-id",
                "x-chorus-warning",
                "x-chorus-total-tokens",
                "x-session-id",
                "retry-after",
                *LIMIT_HEADERS,
            ),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever goes wrong inside ends here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif reports_disconnects(scope):
            await self._serve(scope, receive, send)
        else:
            await serve_watched(self._serve, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        if self._paths is not None:
            scope["path"] = self._paths.resolve(scope["path"])
        # one draw for all ids of a request: the completion, its trace and its log lines are found
        # by the same word
        unique = os.urandom(12).hex()
        context = RequestContext(f"req_{unique}", unique, self._rules.max_body_bytes, dict(scope["headers"]))
        attach(scope, context)
        given = context.header(b"x-request-id")
        if given is not None and _CLEAN_ID.fullmatch(given):
            context.request_id = given
        context.error_style = self._style(scope)
        status = 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                context.has_started = True
                headers = [*message["headers"], *_id_headers(context.request_id, context.error_style)]
                principal = context.principal
                if principal is not None and principal.standing is not None:
                    headers += limit_headers(principal.standing)
                message["headers"] = headers
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=context.request_id)
        try:
            app = self._answer if context.header(b"origin") is None else self._with_cors
            await app(scope, receive, tagged)
        finally:
            secs, status = time.perf_counter() - began, status or 499
            method = _METHODS.get(scope["method"], "other")
            self._metrics.request(method, context.route, status, secs, context.run.get("error"))
            duration_ms = round(secs * 1000, 1)
            fields = {"method": scope["method"], "path": scope["path"], "status": status}
            write = _log.debug if scope["path"] in _PROBES else _log.info
            write("request", **fields, duration_ms=duration_ms, **context.run)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request and pass it on.

        Inside of CORS, so that a page can read its errors too.
        """
        try:
            self._admit(scope)
            await self._app(scope, receive, send)
        except Exception as error:
            # not kept in a variable here: with its traceback, which holds us, that would be a cycle
            await self._send_error(request_context(scope), send, as_chorus_error(error))

    async def _send_error(self, context: RequestContext, send: Send, error: ChorusError) -> None:
        """Note an error, and answer with it where nothing has been sent yet."""
        context.run.setdefault("error", error.code)
        if isinstance(error, StorageUnavailable):
            self._metrics.storage_unavailable(error.kind)
        if not context.has_started:
            body = error_body(error, context.error_style, context.request_id)
            await send_json(send, body, error.status, error_headers(error))

    def _style(self, scope: Scope) -> ErrorStyle:
        """Return the form of errors that this client reads (A5).

        Ollama's clients read a string, all others an object.
        """
        style = style_of(scope["path"])
        return "openai" if style == "ollama" and wants_sse(scope, always=self._rules.ollama_sse) else style

    def _admit(self, scope: Scope) -> None:
        """Raises InvalidRequest, ForbiddenHost or ForbiddenOrigin."""
        check_host(scope, self._rules.hosts, near=self._rules.near)
        origin = header(scope, b"origin")
        if origin is None or self._pages.fullmatch(origin) or {"*", origin} & self._rules.origins:
            return
        if _netloc(origin) != header(scope, b"host"):
            raise ForbiddenOrigin("Pages of this origin may not use this server ([server] cors_origins).")


def _pattern(origin: str) -> str:
    """Return an origin of the configuration as a regular expression.

    `*` stands for any characters but `/`.
    """
    return re.escape(origin).replace(r"\*", "[^/]*")


def _netloc(origin: str) -> str | None:
    """Return host and port of an Origin header; None where it is no address at all."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _id_headers(request_id: str, style: ErrorStyle) -> list[Header]:
    """Return the request id; Anthropic's SDK reads it under a name of its own."""
    value = request_id.encode()
    headers = [(b"x-request-id", value)]
    return [*headers, (b"request-id", value)] if style == "anthropic" else headers
