"""HTTP to upstreams: one pool of connections per origin, and every way it can fail as a typed error
(L1, L3).

Above: the providers. Below: `transport/`, or aiohttp where a proxy leads to the upstream
(`proxied.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint
from yarl import URL

from chorus.certificates import trusted
from chorus.errors import ContentFiltered, LLMError, UpstreamConnect, UpstreamProtocol, UpstreamStatus, excerpt
from chorus.llm.base import NO_HEADERS
from chorus.llm.reading.content_filters import filter_reason_of
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY, error_text
from chorus.llm.transport.http import ConnectionPool, Origin, decoded, header_line, request_head
from chorus.llm.transport.proxies import check_socks, proxy_for, socks_errors
from chorus.llm.transport.upstream_errors import BROKEN, status_error, transport_error

if TYPE_CHECKING:
    from chorus.llm.transport.proxied import ProxiedClient

KEEPALIVE_SECS = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn (vLLM, SGLang, mlx)
closes its side, so that a request is not sent into a connection that is just being closed.
"""

RELEASE_SECS: Final = 3600.0
"""How long calls at an address that is gone may still take."""

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a body that is read as a whole."""
MAX_PART: Final = 64 * 1024
"""Bytes of a body that are handed on between two looks at the event loop. They may be 7,000 events,
whose reading takes 10 ms."""

WATCHED: Final[ContextVar[Callable[[], None] | None]] = ContextVar("WATCHED", default=None)
"""Called at each read of a reply that is asked for in this context: a model that sends anything
lives. A context variable, since pools, gates and queues stand between who waits for a model and its
connection, and none of them has to do with it.
"""

_JSON_TYPE: Final = "application/json"
_FILTERED: Final = frozenset({400, 403, 422})
"""Statuses with which content filters refuse; OpenRouter's moderation has 403."""


class Incoming(Protocol):
    """A response whose head is whole: of `transport`, or of aiohttp."""

    @property
    def status(self) -> int:
        """Its status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, by names in lower case."""

    async def readany(self) -> bytes:
        """Return what of its body has come, as soon as there is any; nothing at its end."""

    def close(self) -> None:
        """Close its connection, unless it is whole."""


class Channel(Protocol):
    """A connection that several calls share, of a protocol that is not HTTP/1."""

    async def close(self, grace: float | None = None) -> None:
        """Close it when the calls that go on have ended, in `grace` seconds at the latest; None:
        cancel them."""


C = TypeVar("C", bound=Channel)


class Clients:
    """The connections of one server to its upstreams, by origin.

    Whoever makes it closes it with `aclose()`.
    """

    def __init__(self) -> None:
        self._pools: dict[URL, ConnectionPool] = {}
        self._proxied: dict[tuple[URL, URL], ProxiedClient] = {}
        self._channels: dict[str, Channel] = {}
        self._proxy: str | None = None

    def through(self, proxy: str | None) -> Clients:
        """These clients for a model with a `proxy` of its own, as it is configured.

        None: the environment's hold.
        """
        clients = Clients()
        clients._pools, clients._proxied, clients._channels = self._pools, self._proxied, self._channels
        clients._proxy = proxy
        return clients

    def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy for requests to `url`; None where there is none.

        Raises:
            ConfigError: it cannot be used.
        """
        proxy = proxy_for(url, self._proxy)
        if proxy is not None:
            check_socks(proxy)
        return proxy

    def pool(self, origin: URL) -> ConnectionPool:
        """Return the connections to `origin`, made at its first use."""
        pool = self._pools.get(origin)
        if pool is None:
            tls = trusted() if origin.scheme == "https" else None
            address = Origin(origin.raw_host or "", origin.port or 0, tls)
            pool = self._pools[origin] = ConnectionPool(address, keepalive_secs=KEEPALIVE_SECS)
        return pool

    def proxied(self, origin: URL, proxy: URL) -> ProxiedClient:
        """Return the client for `origin` through `proxy`, made at its first use."""
        client = self._proxied.get((origin, proxy))
        if client is None:
            from chorus.llm.transport.proxied import ProxiedClient  # aiohttp: 11 MB

            client = ProxiedClient(proxy, trusted(), keepalive_secs=KEEPALIVE_SECS)
            self._proxied[origin, proxy] = client
        return client

    def channel(self, address: str, make: Callable[[], C]) -> C:
        """Return the channel of another protocol to `address`, which `make` makes at its first
        use.
        """
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = make()
        return cast(C, channel)

    async def release(self, address: str) -> None:
        """Close the channel to `address`, which is gone, when its calls have ended: one that comes
        back there gets a new channel, without the old one's pause between attempts to connect."""
        channel = self._channels.pop(address, None)
        if channel is None:
            return
        try:
            await channel.close(RELEASE_SECS)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await channel.close()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        clients: list[ConnectionPool | ProxiedClient] = [*self._pools.values(), *self._proxied.values()]
        self._pools.clear()
        self._proxied.clear()
        for client in clients:
            await client.aclose()


class Endpoint:
    """One URL that answers with JSON, a stream of SSE, or of NDJSON.

    Shared by all calls of an upstream.
    """

    def __init__(self, clients: Clients, url: str, headers: Mapping[str, str], *, name: str) -> None:
        self._url = URL(url)
        self._origin = self._url.origin()
        self._proxy = clients.proxy_for(self._url)
        self._clients = clients
        self._headers = {
            "accept-encoding": "identity",  # a compressed stream arrives in lumps
            "user-agent": "chorus",
            **headers,
        }
        self._json_headers = {"content-type": _JSON_TYPE, **self._headers}
        self._name = name

    async def post(self, content: bytes, *, connect_timeout: float, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
        """Send `content`, a JSON text, and return a successful reply, which the caller closes.

        `headers` are those of this request, beside those of the endpoint.

        Raises:
            LLMError: the connection failed, or the status was not 2xx.
        """
        if self._proxy is not None:
            whole = {**self._json_headers, **headers}
            return await self._reply(self._ask_proxied("POST", content, whole, connect_timeout))
        return await self._reply(self._ask(content, headers, connect_timeout))

    async def get(self, *, connect_timeout: float) -> Reply:
        """Ask without a body; otherwise as `post`."""
        if self._proxy is not None:
            return await self._reply(self._ask_proxied("GET", None, self._headers, connect_timeout))
        return await self._reply(self._ask(None, NO_HEADERS, connect_timeout))

    @cached_property
    def _post_head(self) -> bytes:
        return request_head("POST", self._url, self._json_headers)

    @cached_property
    def _get_head(self) -> bytes:
        return request_head("GET", self._url, self._headers)

    async def _ask(self, content: bytes | None, headers: Mapping[str, str], connect_timeout: float) -> Incoming:
        """Send a request over a connection of our own.

        Without `content` a GET, which is repeated where a kept connection turns out to be closed.
        """
        pool = self._clients.pool(self._origin)
        if content is None:
            head = self._get_head + b"\r\n"
            return decoded(await pool.request(head, b"", connect_secs=connect_timeout, retries=True))
        lines = "".join([header_line(name, value) for name, value in headers.items()])
        head = self._post_head + f"{lines}Content-Length: {len(content)}\r\n\r\n".encode()
        return decoded(await pool.request(head, content, connect_secs=connect_timeout))

    async def _ask_proxied(
        self, method: str, content: bytes | None, headers: Mapping[str, str], connect_timeout: float
    ) -> Incoming:
        """Send a request through the proxy."""
        assert self._proxy is not None
        client = self._clients.proxied(self._origin, self._proxy)
        return await client.request(method, self._url, content, headers, connect_secs=connect_timeout)

    async def _reply(self, asking: Awaitable[Incoming]) -> Reply:
        """Return the successful reply to a request."""
        try:
            response = await asking
        except BROKEN as problem:
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

    async def _refusal(self, response: Incoming) -> LLMError:
        """Return the typed error for a reply that is not 2xx."""
        detail, body = "", b""
        try:
            with anyio.move_on_after(5):
                body = await Reply(response, self._name).beginning(MAX_ERROR_BODY)
                detail = error_text(body)
        except LLMError:
            detail = "(its error text could not be read)"
        if response.status in _FILTERED and (reason := filter_reason_of(body)) is not None:
            return ContentFiltered(f"Upstream '{self._name}' refused the request by its content filter", detail=reason)
        error = status_error(response.status, self._name, detail, response.headers)
        if isinstance(error, UpstreamStatus):
            error.body = body
        return error


E = TypeVar("E", bound=Endpoint)


def _host_and_port(base: str) -> str:
    url = URL(base)
    port = f":{url.port}" if url.explicit_port is not None and not url.is_default_port() else ""
    return f"{url.host_subcomponent}{port}"


class UpstreamEndpoint:
    """Where one model is reached: its address, what is sent with each request, and the id of the
    instance there.
    """

    def __init__(
        self, clients: Clients, *, name: str, base: str, api_key: str | None, headers: Mapping[str, str] | None
    ) -> None:
        self._clients = clients
        self._base = base
        self._headers = {**({"authorization": f"Bearer {api_key}"} if api_key else {}), **(headers or {})}
        self.name = name
        self.instance_id = f"{name}@{_host_and_port(base)}"

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint at `path` below the address."""
        return self.endpoint_of(Endpoint, path)

    def endpoint_of(self, kind: type[E], path: str) -> E:
        """Return the same as an endpoint of another `kind`."""
        return kind(self._clients, self._base + path, self._headers, name=self.name)


class Reply:
    """A successful reply whose body has not been read.

    A `with` block around its reading closes it.
    """

    def __init__(self, response: Incoming, name: str, watch: Callable[[], None] | None = None) -> None:
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
        """Close the exchange.

        What has been read to its end has given its connection back already.
        """
        self._response.close()

    @property
    def status(self) -> int:
        """The status, which is 2xx."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in lower case."""
        return self._response.headers

    @property
    def content_type(self) -> str:
        """The type of the body, in lower case, without parameters."""
        declared = self._response.headers.get("content-type", "")
        return declared.partition(";")[0].strip().lower()

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, one item per read.

        In pieces of `MAX_PART` bytes where one read brings more.

        After `finish_within` a body that breaks off has ended.

        Raises:
            UpstreamProtocol: it breaks off.
        """
        response, watch = self._response, self._watch
        try:
            while True:
                part = await (response.readany() if self._ends_at is None else self._last_part(response))
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
        except BROKEN as problem:
            if self._ends_at is not None:
                return
            raise transport_error(problem, self._name, reading=True) from problem

    async def _last_part(self, response: Incoming) -> bytes:
        """Return what still arrives within the time of `finish_within`; empty when that is over."""
        assert self._ends_at is not None
        if anyio.current_time() < self._ends_at:  # what has arrived already is read without a wait
            with anyio.CancelScope(deadline=self._ends_at):
                return await response.readany()
        return b""

    def finish_within(self, secs: float) -> None:
        """Let `parts` end in `secs` seconds at the latest: all that is needed has been read."""
        if self._ends_at is None:
            self._ends_at = anyio.current_time() + secs

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            UpstreamProtocol: it is longer than `MAX_BODY`, or breaks off.
        """
        body = await self.beginning(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise UpstreamProtocol(f"Upstream '{self._name}' sent a body longer than {MAX_BODY >> 20} MiB")
        return body

    async def beginning(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the body, or all of it.

        Raises:
            UpstreamProtocol: it breaks off before.
        """
        body = bytearray()
        try:
            while len(body) < limit and (part := await self._response.readany()):
                body += part
                if self._watch is not None:
                    self._watch()
        except BROKEN as problem:
            raise transport_error(problem, self._name, reading=True) from problem
        return bytes(memoryview(body)[:limit])
