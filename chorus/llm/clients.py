"""HTTP to upstreams: one pooled client per origin, and every way it can fail as a typed error (L1, L3).

Above: the providers. Below: httpx over aiohttp's connections, which measured five times the requests and a third of
the CPU of httpx's own transport (benchmarks/transports.py); `aiohttp_transport` is the only place that knows.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from time import time

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from chorus import wirejson
from chorus.errors import (
    ChorusError,
    LLMError,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)

KEEPALIVE_SECS = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn (vLLM, SGLang, mlx) closes its side, so
that a request is not sent into a connection that is just being closed."""

CLOSE_SECS = 1.0
"""Bound of the shielded clean-up of one exchange (W13)."""

MAX_ERROR_BODY = 64 * 1024
MAX_BODY = 64 * 1024 * 1024

_REFUSED = frozenset({400, 413, 422})


def aiohttp_transport() -> httpx.AsyncBaseTransport:
    """The transport that measures best. Its connections are not limited here: admission is, in plain sight, upstream
    of it; a silent queue inside the pool would look like a slow model."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECS, ssl=httpx.create_ssl_context()),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    return AiohttpTransport(client=session)


class Clients:
    """The pooled HTTP clients of one server, by origin. Whoever makes it closes it with `aclose()`.

    A client is an httpx transport without httpx's `AsyncClient` around it: auth, redirects and above all cookies, which it
    would keep from one user's answer and send with the next one's request, are not for us, and cost a twentieth of a
    relayed stream (benchmarks/passthrough.py).
    """

    def __init__(self, transport: Callable[[], httpx.AsyncBaseTransport] = aiohttp_transport) -> None:
        self._transport = transport
        self._by_origin: dict[tuple[str, str, int | None], httpx.AsyncBaseTransport] = {}

    def get(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The client for the origin of `url`, made at its first use."""
        origin = (url.scheme, url.host, url.port)
        client = self._by_origin.get(origin)
        if client is None:
            client = self._by_origin[origin] = self._transport()
        return client

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._by_origin = list(self._by_origin.values()), {}
        for client in clients:
            await client.aclose()


class Endpoint:
    """One URL that answers with JSON, a stream of SSE, or of NDJSON. Shared by all calls of an upstream."""

    def __init__(self, clients: Clients, url: str, headers: Mapping[str, str], *, name: str) -> None:
        self._url = httpx.URL(url)
        self._clients = clients
        self._headers = {
            "accept-encoding": "identity",  # a compressed stream arrives in lumps
            "user-agent": "chorus",
            **headers,
        }
        self._name = name

    def post(
        self, body: wirejson.JSON, *, connect_timeout: float, request_id: str
    ) -> AbstractAsyncContextManager[Reply]:
        """Send `body`; the block holds a successful reply, and leaving it closes the exchange.

        Raises:
            LLMError: on entering: the connection failed, or the status was not 2xx.
        """
        headers = {"content-type": "application/json", **self._headers}
        if request_id:
            headers["x-request-id"] = request_id
        return self._exchange("POST", headers, wirejson.encode(body), connect_timeout)

    def get(self, *, connect_timeout: float) -> AbstractAsyncContextManager[Reply]:
        """Ask without a body; otherwise as `post`."""
        return self._exchange("GET", self._headers, None, connect_timeout)

    @asynccontextmanager
    async def _exchange(
        self, method: str, headers: Mapping[str, str], content: bytes | None, connect_timeout: float
    ) -> AsyncIterator[Reply]:
        request = httpx.Request(
            method,
            self._url,
            headers=headers,
            content=content,
            extensions={"timeout": {"connect": connect_timeout, "read": None, "write": None, "pool": None}},
        )
        try:
            response = await self._clients.get(self._url).handle_async_request(request)
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise transport_error(problem, self._name) from problem
        try:
            if not response.is_success:
                raise await self._refusal(response)
            yield Reply(response, self._name)
        except BaseException:
            with anyio.move_on_after(CLOSE_SECS, shield=True):
                await response.aclose()
            raise
        await response.aclose()  # it has been read, or is given up: neither waits for anybody

    async def _refusal(self, response: httpx.Response) -> LLMError:
        """The typed error for a reply that is not 2xx."""
        detail = ""
        try:
            with anyio.move_on_after(5):
                detail = error_text(await Reply(response, self._name).body(limit=MAX_ERROR_BODY))
        except LLMError:
            detail = "(its error text could not be read)"
        return status_error(response.status_code, self._name, detail, response.headers)


class Site:
    """Where one model is reached: its address, what is sent with each request, and the id of the instance there."""

    def __init__(
        self, clients: Clients, *, name: str, base: str, api_key: str | None, headers: Mapping[str, str] | None
    ) -> None:
        self._clients = clients
        self._base = base
        self._headers = {**({"authorization": f"Bearer {api_key}"} if api_key else {}), **(headers or {})}
        self.name = name
        self.instance_id = f"{name}@{httpx.URL(base).netloc.decode('ascii')}"

    def endpoint(self, path: str) -> Endpoint:
        """The endpoint at `path` below the address."""
        return Endpoint(self._clients, self._base + path, self._headers, name=self.name)


class Reply:
    """A successful reply whose body has not been read."""

    def __init__(self, response: httpx.Response, name: str) -> None:
        self._response = response
        self._name = name

    @property
    def content_type(self) -> str:
        declared: str = self._response.headers.get("content-type", "")
        return declared.partition(";")[0].strip().lower()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item per read."""
        packed = "content-encoding" in self._response.headers
        whole = self._response.stream
        assert isinstance(whole, httpx.AsyncByteStream)
        source: AsyncIterable[bytes] = self._response.aiter_bytes() if packed else whole
        try:
            async for part in source:
                yield part
        except (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise transport_error(problem, self._name, reading=True) from problem

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body, cut at `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        async for part in self.parts():
            parts.append(part)
            size += len(part)
            if size >= limit:
                break
        return b"".join(parts)[:limit]


def transport_error(problem: Exception, name: str, *, reading: bool = False) -> ChorusError:
    """The typed error for what a transport raised.

    httpx-aiohttp reports a server that hung up as `ConnectTimeout`; aiohttp's own exception behind it tells the truth.
    """
    cause = problem.__cause__ if isinstance(problem.__cause__, Exception) else problem
    if reading:
        return UpstreamProtocol(f"Upstream '{name}' broke off in the middle of its answer ({type(cause).__name__})")
    if isinstance(cause, aiohttp.ConnectionTimeoutError) or (
        isinstance(problem, httpx.ConnectTimeout) and isinstance(cause, TimeoutError)
    ):
        return UpstreamConnect(f"Upstream '{name}' did not accept a connection in time")
    if isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return UpstreamConnect(f"Upstream '{name}' closed the connection without an answer")
    if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout) or isinstance(
        cause, aiohttp.ClientConnectorError
    ):
        return UpstreamConnect(f"Upstream '{name}' cannot be reached ({_reason(cause)})")
    if isinstance(problem, httpx.TimeoutException):
        return UpstreamTimeout(f"Upstream '{name}' did not answer in time")
    if isinstance(cause, OSError):
        return UpstreamConnect(f"The connection to upstream '{name}' failed ({_reason(cause)})")
    return UpstreamProtocol(f"Upstream '{name}' did not answer in HTTP as we know it ({type(cause).__name__})")


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


def error_text(body: bytes) -> str:
    """What an error body says, whatever its shape: OpenAI's, Ollama's, FastAPI's, HTML or plain text."""
    try:
        value = wirejson.decode(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return "(an HTML page)" if text[:1] == "<" else text
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else ""


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
