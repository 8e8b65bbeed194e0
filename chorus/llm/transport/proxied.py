"""HTTP to an upstream through a proxy, by aiohttp, which speaks HTTP's and SOCKS's proxy
protocols.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache, partial

import aiohttp
from yarl import URL

from chorus.llm.transport.connector import Connector
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
            aiohttp.ClientError, OSError, ValueError: there is no connection, or no response.
        """
        # aiohttp looks for a payload of the right kind through a dozen classes where it gets bytes
        payload = None if content is None else aiohttp.BytesPayload(content, content_type="application/json")
        return await self._request(method, url, payload, headers, connect_secs)

    async def request_streamed(
        self, url: URL, body: AsyncIterator[bytes], headers: Mapping[str, str], *, connect_secs: float
    ) -> ProxiedResponse:
        """Send a POST request whose `body` comes piece by piece: with the length that `headers`
        say, else in chunks. Otherwise as `request`; what `body` raises becomes an error of
        aiohttp.
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
        response = await self._session.request(
            method,
            url,
            data=data,
            headers=headers,
            timeout=_timeout(connect_secs),
            allow_redirects=False,
            proxy=self._proxy,
        )
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
        self.readany = response.content.readany
        self.close = response.close


@cache
def _timeout(connect_secs: float) -> aiohttp.ClientTimeout:
    """A limit for a connection, the look-up of its name included.

    How long an answer may take is for others to say.
    """
    return aiohttp.ClientTimeout(connect=connect_secs)
