"""HTTP to upstreams: one pooled client per origin, and every way it can fail as a typed error (L1, L3).

Above: the providers. Below: aiohttp, which takes half the CPU of httpx over aiohttp's connections, and a tenth of httpx's own
(benchmarks/transports.py); `new_client` is all there is to it.
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from functools import cache, partial
from time import time
from typing import Final, Self

import aiohttp
import anyio
import certifi
from anyio.lowlevel import checkpoint
from yarl import URL

from chorus import wirejson
from chorus.errors import (
    ChorusError,
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    excerpt,
)
from chorus.llm.base import ConnectionClosed
from chorus.llm.connector import Connector
from chorus.llm.error_bodies import MAX_ERROR_BODY, error_text
from chorus.llm.proxies import check_socks, is_socks, proxy_for, socks_connector, socks_errors

KEEPALIVE_SECS = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn (vLLM, SGLang, mlx) closes its side, so
that a request is not sent into a connection that is just being closed."""

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a body that is read as a whole."""
MAX_PART: Final = 64 * 1024
"""Bytes of a body that are handed on between two looks at the event loop. They may be 7,000 events,
whose reading takes 10 ms."""

_BROKEN: Final = (aiohttp.ClientError, OSError, ValueError)
"""What aiohttp raises where a connection or an answer is not as it should be."""

WATCHED: Final[ContextVar[Callable[[], None] | None]] = ContextVar("WATCHED", default=None)
"""Called at each read of a reply that is asked for in this context: a model that sends anything lives. A context variable,
since pools, gates and queues stand between who waits for a model and its connection, and none of them has to do with it."""

_JSON_TYPE: Final = "application/json"
_REFUSED = frozenset({400, 413, 422})


def new_client(socks: URL | None = None) -> aiohttp.ClientSession:
    """A client with a pool of connections. They are not limited here: admission is, in plain sight, upstream of it; a silent
    queue inside the pool would look like a slow model. It keeps no cookies: one user's answer would send them with the next
    one's request. `socks` is the SOCKS proxy that its connections go through; other proxies are named with each request."""
    make = Connector if socks is None else partial(socks_connector, socks)
    return aiohttp.ClientSession(
        connector=make(limit=0, keepalive_timeout=KEEPALIVE_SECS, ssl=_certificates()),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Whom we believe: what SSL_CERT_FILE or SSL_CERT_DIR name, else Mozilla's list; reading it takes a moment."""
    paths = ssl.get_default_verify_paths()
    named = {paths.openssl_cafile_env, paths.openssl_capath_env} & os.environ.keys()
    return ssl.create_default_context() if named else ssl.create_default_context(cafile=certifi.where())


class Clients:
    """The pooled HTTP clients of one server, by origin. Whoever makes it closes it with `aclose()`."""

    def __init__(self, make: Callable[[URL | None], aiohttp.ClientSession] = new_client) -> None:
        self._make = make
        self._by_origin: dict[tuple[URL, URL | None], aiohttp.ClientSession] = {}
        self._proxy: str | None = None

    def through(self, proxy: str | None) -> Clients:
        """These clients for a model with a `proxy` of its own, as it is configured; None: the environment's hold."""
        clients = Clients(self._make)
        clients._by_origin, clients._proxy = self._by_origin, proxy
        return clients

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy for requests to `url`; None where there is none.

        Raises:
            ConfigError: it cannot be used.
        """
        proxy = proxy_for(url, self._proxy)
        if proxy is not None:
            check_socks(proxy)
        return proxy

    def get(self, origin: URL, socks: URL | None = None) -> aiohttp.ClientSession:
        """The client for `origin`, made at its first use; `socks` is the SOCKS proxy that leads there."""
        client = self._by_origin.get((origin, socks))
        if client is None:
            client = self._by_origin[origin, socks] = self._make(socks)
        return client

    async def aclose(self) -> None:
        """Close every connection."""
        clients = list(self._by_origin.values())
        self._by_origin.clear()
        for client in clients:
            await client.close()


class Endpoint:
    """One URL that answers with JSON, a stream of SSE, or of NDJSON. Shared by all calls of an upstream."""

    def __init__(self, clients: Clients, url: str, headers: Mapping[str, str], *, name: str) -> None:
        self._url = URL(url)
        self._origin = self._url.origin()
        proxy = clients.proxy_for(self._url)
        self._socks = proxy if proxy is not None and is_socks(proxy) else None
        self._proxy = proxy if self._socks is None else None
        self._clients = clients
        self._headers = {
            "accept-encoding": "identity",  # a compressed stream arrives in lumps
            "user-agent": "chorus",
            **headers,
        }
        self._json_headers = {"content-type": _JSON_TYPE, **self._headers}
        self._name = name

    async def post(self, body: wirejson.JSON, *, connect_timeout: float, request_id: str) -> Reply:
        """Send `body` and return a successful reply, which the caller closes.

        Raises:
            LLMError: the connection failed, or the status was not 2xx.
        """
        headers = {**self._json_headers, "x-request-id": request_id} if request_id else self._json_headers
        # aiohttp looks for a payload of the right kind through a dozen classes where it gets bytes
        content = aiohttp.BytesPayload(wirejson.encode_upstream(body), content_type=_JSON_TYPE)
        return await self._exchange("POST", content, headers, connect_timeout)

    async def get(self, *, connect_timeout: float) -> Reply:
        """Ask without a body; otherwise as `post`."""
        return await self._exchange("GET", None, self._headers, connect_timeout)

    async def _exchange(
        self, method: str, content: aiohttp.BytesPayload | None, headers: Mapping[str, str], connect_timeout: float
    ) -> Reply:
        try:
            response = await self._clients.get(self._origin, self._socks).request(
                method,
                self._url,
                data=content,
                headers=headers,
                timeout=_patience(connect_timeout),
                allow_redirects=False,
                proxy=self._proxy,
            )
        except _BROKEN as problem:
            raise transport_error(problem, self._name) from problem
        except socks_errors() as problem:
            raise UpstreamConnect(
                f"Upstream '{self._name}' cannot be reached through its SOCKS proxy ({excerpt(str(problem))})"
            ) from problem
        if not 200 <= response.status < 300:
            try:
                raise await self._refusal(response)
            finally:
                response.close()
        watch = WATCHED.get()
        if watch is not None:
            watch()
        return Reply(response, self._name, watch)

    async def _refusal(self, response: aiohttp.ClientResponse) -> LLMError:
        """The typed error for a reply that is not 2xx."""
        detail, body = "", b""
        try:
            with anyio.move_on_after(5):
                body = await Reply(response, self._name).beginning(MAX_ERROR_BODY)
                detail = error_text(body)
        except LLMError:
            detail = "(its error text could not be read)"
        error = status_error(response.status, self._name, detail, response.headers)
        if isinstance(error, UpstreamStatus):
            error.body = body
        return error


@cache
def _patience(connect_secs: float) -> aiohttp.ClientTimeout:
    """A connection, the look-up of its name included, may take so long; how long an answer may is for others to say."""
    return aiohttp.ClientTimeout(connect=connect_secs)


def _host_and_port(base: str) -> str:
    url = URL(base)
    port = f":{url.port}" if url.explicit_port is not None and not url.is_default_port() else ""
    return f"{url.host_subcomponent}{port}"


class Site:
    """Where one model is reached: its address, what is sent with each request, and the id of the instance there."""

    def __init__(
        self, clients: Clients, *, name: str, base: str, api_key: str | None, headers: Mapping[str, str] | None
    ) -> None:
        self._clients = clients
        self._base = base
        self._headers = {**({"authorization": f"Bearer {api_key}"} if api_key else {}), **(headers or {})}
        self.name = name
        self.instance_id = f"{name}@{_host_and_port(base)}"

    def endpoint(self, path: str) -> Endpoint:
        """The endpoint at `path` below the address."""
        return Endpoint(self._clients, self._base + path, self._headers, name=self.name)


class Reply:
    """A successful reply whose body has not been read. A `with` block around its reading closes it."""

    def __init__(self, response: aiohttp.ClientResponse, name: str, watch: Callable[[], None] | None = None) -> None:
        """`watch` is called at each read."""
        self._response = response
        self._watch = watch
        self._name = name
        self._ends_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the exchange; what has been read to its end has given its connection back already."""
        self._response.close()

    @property
    def content_type(self) -> str:
        declared: str = self._response.headers.get("content-type", "")
        return declared.partition(";")[0].strip().lower()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item per read; in pieces of `MAX_PART` bytes where one read brings more.

        After `finish_within` a body that breaks off has ended.

        Raises:
            UpstreamProtocol: it breaks off.
        """
        content, watch = self._response.content, self._watch
        try:
            while True:
                part = await (content.readany() if self._ends_at is None else self._last_part(content))
                if not part:
                    return
                if watch is not None:
                    watch()
                if len(part) <= MAX_PART:
                    yield part
                    continue
                for start in range(0, len(part), MAX_PART):
                    yield part[start : start + MAX_PART]
                    await checkpoint()
        except _BROKEN as problem:
            if self._ends_at is not None:
                return
            raise transport_error(problem, self._name, reading=True) from problem

    async def _last_part(self, content: aiohttp.StreamReader) -> bytes:
        """What still arrives within the time of `finish_within`; empty when that is over."""
        assert self._ends_at is not None
        if anyio.current_time() < self._ends_at:  # what has arrived already is read without a wait
            with anyio.CancelScope(deadline=self._ends_at):
                return await content.readany()
        return b""

    def finish_within(self, secs: float) -> None:
        """Let `parts` end in `secs` seconds at the latest: all that is needed has been read."""
        if self._ends_at is None:
            self._ends_at = anyio.current_time() + secs

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            UpstreamProtocol: it is longer than `MAX_BODY`, or breaks off.
        """
        body = await self.beginning(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise UpstreamProtocol(f"Upstream '{self._name}' sent a body longer than {MAX_BODY >> 20} MiB")
        return body

    async def beginning(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or all of it.

        Raises:
            UpstreamProtocol: it breaks off before.
        """
        body = bytearray()
        try:
            while len(body) < limit and (part := await self._response.content.readany()):
                body += part
                if self._watch is not None:
                    self._watch()
        except _BROKEN as problem:
            raise transport_error(problem, self._name, reading=True) from problem
        return bytes(memoryview(body)[:limit])


def transport_error(problem: Exception, name: str, *, reading: bool = False) -> ChorusError:
    """The typed error for what aiohttp raised."""
    if reading:
        return UpstreamProtocol(f"Upstream '{name}' broke off in the middle of its answer ({type(problem).__name__})")
    if isinstance(problem, TimeoutError):
        return UpstreamConnect(f"Upstream '{name}' did not accept a connection in time")
    if isinstance(problem, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return ConnectionClosed(f"Upstream '{name}' closed the connection without an answer")
    if isinstance(problem, aiohttp.ClientConnectorError):
        return UpstreamConnect(f"Upstream '{name}' cannot be reached ({_reason(problem)})")
    if isinstance(problem, OSError):
        return UpstreamConnect(f"The connection to upstream '{name}' failed ({_reason(problem)})")
    return UpstreamProtocol(f"Upstream '{name}' did not answer in HTTP as we know it ({type(problem).__name__})")


def _reason(cause: Exception) -> str:
    inner = getattr(cause, "os_error", cause)
    return getattr(inner, "strerror", None) or type(inner).__name__


def status_error(status: int, name: str, detail: str, headers: Mapping[str, str]) -> LLMError:
    """The typed error for an error status of an upstream."""
    if status == 429:
        return UpstreamRateLimited(
            f"Upstream '{name}' is rate limited", retry_after=retry_after_secs(headers), detail=detail
        )
    if status in _REFUSED:
        return UpstreamRefused(
            f"Upstream '{name}' refused the request ({status})", upstream_status=status, detail=detail
        )
    why = " (is its api_key right?)" if status in (401, 403) else ""
    return UpstreamStatus(
        f"Upstream '{name}' answered with status {status}{why}", upstream_status=status, detail=detail
    )


def retry_after_secs(headers: Mapping[str, str]) -> float | None:
    """Seconds until a retry makes sense, from `retry-after-ms` or `Retry-After` (seconds or a date, RFC 9110)."""
    try:
        if value := headers.get("retry-after-ms"):
            secs = float(value) / 1000
        elif value := headers.get("retry-after"):
            secs = float(value) if value.strip()[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time()
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return max(secs, 0.0) if math.isfinite(secs) else None
