"""The page at `/ui/`. Its files hold no secret and are open to anybody; its calls of the API show
the user's key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import anyio.to_thread
from starlette.types import Receive, Scope, Send

from chorus.errors import NotFound
from chorus.server.http.context import header
from chorus.server.http.routes import Route
from chorus.server.http.wire import Header
from chorus.server.web.assets import INDEX, Asset, Body, read_assets

PAGE_PATH: Final = "/ui/"

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types chorus-html",
    )
)
"""The page loads nothing from elsewhere, runs no inline script, makes HTML by one policy."""

_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
    (b"vary", b"Accept-Encoding"),
)
_TAG: Final = re.compile(r'"[^"]*"')
_QUALITY: Final = re.compile(r"(gzip|x-gzip|\*)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?", re.IGNORECASE)


class Page:
    """Handlers of the page's routes, each an ASGI application.

    The first request reads the files.
    """

    def __init__(self) -> None:
        self._assets: Mapping[str, Asset] | None = None

    def routes(self) -> Iterator[Route]:
        """Return the routes. They stand outside of the OpenAPI document: they are no API."""
        yield Route("/ui", self.without_slash, "The page, without its slash", access="open")
        yield Route(PAGE_PATH, self.index, "The page", media_type="text/html", access="open")
        yield Route(PAGE_PATH + "{name:path}", self.file, "A file of the page", access="open")

    async def without_slash(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect to `/ui/`, relatively, since a proxy may have put a prefix before it. An address
        that was trimmed to `/ui`, such as `//ui/`, has its slash already: it gets the page."""
        if (scope.get("raw_path") or b"").endswith(b"/"):
            await self.index(scope, receive, send)
            return
        headers = [(b"location", b"ui/"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def index(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page itself."""
        await self._send(scope, send, INDEX)

    async def file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file that the path names."""
        await self._send(scope, send, scope["path_params"]["name"])

    async def _send(self, scope: Scope, send: Send, name: str) -> None:
        """Send the file `name`, or 304 where the client has it. Raises NotFound."""
        if self._assets is None:
            self._assets = await anyio.to_thread.run_sync(read_assets)
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("The page has no such file.")
        is_compressed = asset.compressed is not None and accepts_gzip(header(scope, b"accept-encoding"))
        body = asset.compressed if asset.compressed is not None and is_compressed else asset.plain
        headers = [*_HEADERS, (b"etag", body.etag.encode())]
        if has_current(header(scope, b"if-none-match"), body):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        headers += [(b"content-type", asset.content_type), (b"content-length", str(len(body.data)).encode())]
        if is_compressed:
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        data = b"" if scope["method"] == "HEAD" else body.data
        await send({"type": "http.response.body", "body": data, "more_body": False})


def accepts_gzip(accepted: str | None) -> bool:
    """Return whether an `Accept-Encoding` takes gzip (RFC 9110, 12.5.3). The quality of gzip itself
    goes before that of `*`."""
    qualities: dict[str, float] = {}
    for part in (accepted or "").split(","):
        match = _QUALITY.fullmatch(part.strip())
        if match is not None:
            qualities[match[1].lower().removeprefix("x-")] = float(match[2] or 1)
    return qualities.get("gzip", qualities.get("*", 0)) > 0


def has_current(tags: str | None, body: Body) -> bool:
    """Return whether an `If-None-Match` names `body`: by one tag, a list or `*`. A weak tag counts
    (RFC 9110, 13.1.2)."""
    return tags is not None and (tags.strip() == "*" or body.etag in _TAG.findall(tags))
