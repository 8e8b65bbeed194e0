"""What is known of one request, from the edge to its handler and back to its log line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.types import Scope

from chorus.auth.principal import Principal
from chorus.server.http.errors import ErrorStyle
from chorus.telemetry.tracing import PROPAGATED

_KEY: Final = "chorus.request"
"""The key of the ASGI scope. Servers and frameworks have keys of their own, such as `state`."""


class RequestContext(msgspec.Struct):
    """One request. The middleware makes it, `authorize` and the handlers add to it."""

    request_id: str
    """The client's `X-Request-Id`, else one of ours."""
    unique: str
    """24 hexadecimal digits: part of the ids of the answer and of its trace."""
    max_body_bytes: int
    """How many bytes of the request's body are read at most, compressed or not."""
    headers: Mapping[bytes, bytes]
    """By their names in lower case; of a name that occurs more than once, the last value."""
    error_style: ErrorStyle = "openai"
    """How this client reads errors."""
    route: str = "none"
    """The path of the route that answers, for the metrics and for limits."""
    principal: Principal | None = None
    """Who makes the request; None until a route has let it in."""
    has_started: bool = False
    """Whether the status line of the answer is sent."""
    run: dict[str, Any] = {}
    """The fields of the run for the log line, such as `model`, `tokens` and `error`."""

    def header(self, name: bytes) -> str | None:
        """Return the header called `name` (lower case); None when there is none."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None

    @property
    def trace_parent(self) -> Mapping[str, str] | None:
        """The headers of the caller's trace; None where there is none."""
        if b"traceparent" not in self.headers:
            return None
        given = {name: self.header(name.encode()) for name in PROPAGATED}
        return {name: value for name, value in given.items() if value is not None}


def attach(scope: Scope, context: RequestContext) -> None:
    """Make `context` the one of the request that `scope` describes."""
    scope[_KEY] = context


def request_context(scope: Scope) -> RequestContext:
    """Return what is known of this request. The middleware has attached it."""
    context: RequestContext = scope[_KEY]
    return context


def header(scope: Scope, name: bytes) -> str | None:
    """Return the header called `name` (lower case); None when there is none."""
    # in place, as `RequestContext.header`: a request asks nine times
    context: RequestContext = scope[_KEY]
    value = context.headers.get(name)
    return value.decode("latin-1") if value is not None else None


def request_id_of(scope: Scope) -> str | None:
    """Return the id of a request that the middleware may not have seen yet; None then."""
    context: RequestContext | None = scope.get(_KEY)
    return context.request_id if context is not None else None
