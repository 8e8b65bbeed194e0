"""HTTP to an upstream through a proxy, by aiohttp, which speaks HTTP's and SOCKS's protocols.

Above: `clients.py`, which imports this where a proxy leads to an upstream: aiohttp takes 11 MB.
What aiohttp raises becomes the error of `transport.http` of that name.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache, partial

import aiohttp
from yarl import URL

from chorus.llm.transport.connector import Connector
from chorus.llm.transport.http import CannotConnect, ClientPayloadError, ClientResponseError, ServerDisconnectedError
from chorus.llm.transport.proxies import is_socks, socks_connector


class ProxiedClient:
    """Connections to one origin through one proxy. Whoever makes it closes it with `aclose()`.

    They are not limited here: admission is upstream of it, in plain sight; a queue inside the pool
    would look like a slow model. It keeps no cookies: one user's answer would send them with the
    next one's request.
    """

    def __init__(self, proxy: URL, certificates: ssl.SSLContext, *, keepalive_secs: float) -> None:
        is_by_socks = is_socks(proxy)
        self._proxy = None if is_by_socks else proxy
        make = partial(socks_connector, proxy) if is_by_socks else Connector
        self._session = aiohttp.ClientSession(
            connector=make(limit=0, keepalive_timeout=keepalive_secs, ssl=certificates),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def request(
        self, method: str, url: URL, content: bytes | None, headers: Mapping[str, str], *, connect_secs: float
    ) -> ProxiedResponse:
        """Send a request and return its response when its head is whole. The caller closes it.

        Raises:
            OSError, ValueError: there is no connection, or no response.
        """
        # aiohttp looks for a payload of the right kind through a dozen classes where it gets bytes
        payload = None if content is None else aiohttp.BytesPayload(content, content_type="application/json")
        return await self._request(method, url, payload, headers, connect_secs)

    async def request_streamed(
        self, url: URL, body: AsyncIterator[bytes], headers: Mapping[str, str], *, connect_secs: float
    ) -> ProxiedResponse:
        """Send a POST request whose `body` comes piece by piece: with the length that `headers`
        say, else in chunks. Otherwise as `request`; what `body` raises becomes an error of that
        kind.
        """
        return await self._request("POST", url, body, headers, connect_secs)

    async def _request(
        self,
        method: str,
        url: URL,
        data: aiohttp.BytesPayload | AsyncIterator[bytes] | None,
        headers: Mapping[str, str],
        connect_secs: float,
    ) -> ProxiedResponse:
        try:
            response = await self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=_timeout(connect_secs),
                allow_redirects=False,
                proxy=self._proxy,
            )
        except aiohttp.ClientError as problem:
            raise _translated(problem) from problem
        return ProxiedResponse(response)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


class ProxiedResponse:
    """A response of aiohttp, read as `transport.Response` is."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.close = response.close

    async def readany(self) -> bytes:
        """Return what of its body has come, as soon as there is any; nothing at its end."""
        try:
            return await self._response.content.readany()
        except aiohttp.ClientError as problem:
            raise _translated(problem) from problem


def _translated(problem: aiohttp.ClientError) -> Exception:
    """Return the error of `transport.http` for one of aiohttp."""
    if isinstance(problem, TimeoutError):
        return TimeoutError(str(problem))
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return ServerDisconnectedError(str(problem))
    if isinstance(problem, aiohttp.ClientConnectorError):
        cause = problem.os_error
        return CannotConnect(cause.errno, cause.strerror or type(cause).__name__)
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        return CannotConnect(None, f"the proxy answered with status {problem.status}")
    if isinstance(problem, OSError):
        return OSError(problem.errno, problem.strerror or type(problem).__name__)
    if isinstance(problem, aiohttp.ClientPayloadError):
        return ClientPayloadError(str(problem))
    return ClientResponseError(f"{type(problem).__name__}: {problem}")


@cache
def _timeout(connect_secs: float) -> aiohttp.ClientTimeout:
    """Return a limit for a connection, the look-up of its name included.

    How long an answer may take is for others to say.
    """
    return aiohttp.ClientTimeout(connect=connect_secs)
