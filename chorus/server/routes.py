"""A route: one path, its methods, and what the OpenAPI document says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.admission.keys import KeyRing
from chorus.errors import MethodNotAllowed, NotFound
from chorus.server.auth import Access, authorize
from chorus.server.wire import header


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is Starlette's, with converters; the handler is an ASGI application. Who may use it: see `auth`."""

    path: str
    handler: ASGIApp
    summary: str
    methods: tuple[str, ...] = ("GET",)
    media_type: str = "application/json"
    takes_body: bool = False
    access: Access = "admin"

    @property
    def openapi_path(self) -> str:
        return re.sub(r"{(\w+)(:\w+)?}", r"{\1}", self.path)

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)(?::\w+)?}", self.path)

    @property
    def is_json(self) -> bool:
        return self.media_type == "application/json"

    def mounted(self, ring: KeyRing | None) -> StarletteRoute:
        """This route for Starlette's router, closed to those whose key is not on `ring`."""
        return StarletteRoute(self.path, _Guarded(self, ring))


class _Guarded:
    """The handler of a route, for its methods and for those who may use it; others are refused in our own shape of error."""

    def __init__(self, route: Route, ring: KeyRing | None) -> None:
        self._app = route.handler
        self._path = route.openapi_path
        self._methods = route.methods
        self._access: Access = route.access
        self._ring = ring
        self._allowed = frozenset(route.methods) | ({"HEAD"} if "GET" in route.methods else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        scope["state"]["route"] = self._path
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
    """What answers for paths that are none of ours."""
    raise NotFound("There is nothing at this path; /openapi.json lists what there is.")
