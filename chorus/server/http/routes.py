"""Routes: path, methods, body, access, and description for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.auth.access import Access
from chorus.auth.keys import KeyRing
from chorus.errors import MethodNotAllowed, NotFound
from chorus.server.http.auth import authorize
from chorus.server.http.bodies import BodyHandler, BodyReader, Fields
from chorus.server.http.context import header, request_context

_SLASHES: Final = re.compile("/{2,}")
_LONGEST: Final = 1024
"""Characters of a path that may be another one."""


Lifespan = Callable[[], AbstractAsyncContextManager[None]]
"""Opens what has to be open while the application serves."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `path` is Starlette's, with converters; the handler is an ASGI application."""

    path: str
    handler: ASGIApp
    summary: str
    methods: tuple[str, ...] = ("GET",)
    body: type[msgspec.Struct] | None = None
    """The type of the request's body; None for a route that reads none."""
    media_type: str = "application/json"
    """The type of its answers; `*/*` where an upstream says it."""
    access: Access = "admin"
    """Who may use it: see `auth`."""
    takes_form: bool = False
    """Whether its body may be a form with the fields of `body`."""
    has_own_errors: bool = False
    """Whether its errors are those of another protocol, such as JSON-RPC."""

    @property
    def openapi_path(self) -> str:
        """The path without its converters."""
        return re.sub(r"{(\w+)(:\w+)?}", r"{\1}", self.path)

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return re.findall(r"{(\w+)(?::\w+)?}", self.path)

    @property
    def is_json(self) -> bool:
        """Whether it answers with JSON."""
        return self.media_type == "application/json"

    def guarded(self, ring: KeyRing | None) -> ASGIApp:
        """Return the handler, closed to those whose key is not on `ring`."""
        return _Guarded(self, ring)


def posted(
    path: str, fields: type[Fields], handler: BodyHandler[Fields], summary: str, *, access: Access = "admin"
) -> Route:
    """Return the route of a POST whose body is read as `fields` before `handler` gets it."""
    return Route(path, BodyReader(fields, handler), summary, ("POST",), fields, access=access)


def mounted(prefix: str, routes: Iterable[Route]) -> Iterator[Route]:
    """Return `routes` with `prefix` before each path. A prefix may have parameters."""
    return (replace(route, path=prefix + route.path) for route in routes)


class Paths:
    """The paths of an application. They are also found for a client whose base URL has its `/v1`
    missing or doubled, or a slash at its end."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._plain = frozenset(route.path for route in routes if not route.parameters)
        self._heads = tuple(route.path.partition("{")[0] for route in routes if route.parameters)

    def resolve(self, path: str) -> str:
        """Return the path that is served for `path`; `path` itself where none is."""
        if path in self._plain or len(path) > _LONGEST:
            return path
        if path.startswith(self._heads) and not path.endswith("/"):
            return path
        trimmed = "/" + _SLASHES.sub("/", path).strip("/")
        while trimmed.startswith(("/v1/v1/", "/v1/v2/", "/api/api/", "/v1/api/")):
            trimmed = trimmed[trimmed.index("/", 1) :]
        guesses = [trimmed, f"/v1{trimmed}"]
        if trimmed.startswith("/api/v1/"):
            guesses.append(trimmed.removeprefix("/api"))
        return next((guess for guess in guesses if guess in self._plain or guess.startswith(self._heads)), path)


def router(routes: Sequence[Route], ring: KeyRing | None, lifespans: Sequence[Lifespan] = ()) -> ASGIApp:
    """Return the application that finds the handler of a path. `lifespans` are opened in their
    order when the server starts and closed in the reverse order when it ends.

    Starlette's router tries one pattern after another, which is for paths that have parameters; the
    others are looked up.
    """
    guarded = {route.path: route.guarded(ring) for route in routes}
    plain = {route.path: guarded[route.path] for route in routes if not route.parameters}
    patterns = Router(
        [StarletteRoute(path, handler) for path, handler in guarded.items() if path not in plain],
        redirect_slashes=False,
        default=nowhere,
        lifespan=_lifespan(lifespans),
    )

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        handler = plain.get(scope["path"]) if scope["type"] == "http" else None
        await (handler or patterns)(scope, receive, send)

    return route


def _lifespan(lifespans: Sequence[Lifespan]) -> Callable[[object], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for opened in lifespans:
                await stack.enter_async_context(opened())
            yield

    return lifespan


class _Guarded:
    """The handler of a route for its methods and those who may use it.

    Others are refused with our own errors.
    """

    def __init__(self, route: Route, ring: KeyRing | None) -> None:
        self._app = route.handler
        self._path = route.openapi_path
        self._methods = route.methods
        self._access: Access = route.access
        self._ring = ring
        self._allowed = frozenset(route.methods) | ({"HEAD"} if "GET" in route.methods else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        request_context(scope).route = self._path
        if method in self._allowed:
            authorize(scope, self._access, self._ring)
            await self._app(scope, receive, send)
        elif method == "OPTIONS" and header(scope, b"origin") is None:
            allow = ", ".join([*self._methods, "OPTIONS"]).encode()
            await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            allowed = " or ".join(self._methods)
            raise MethodNotAllowed(f"{method} is not allowed here; use {allowed}.", allow=self._methods)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for paths that are none of ours. Raises NotFound."""
    raise NotFound("There is nothing at this path; /openapi.json lists what there is.")
