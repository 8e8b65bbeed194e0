"""An HTTP/1.1 client for upstreams: a pool of connections for each origin, on asyncio and
httptools.

Above: `transport/clients.py`, which maps the errors of this package to those of Chorus. Below:
asyncio's transports and llhttp's parser. What a client needs for one exchange and no more: no
redirects, cookies, proxies or retries of POST requests. `docs/decisions/0001-http-client.md` says
why it is not aiohttp.
"""

from chorus.llm.transport.http.connecting import Origin
from chorus.llm.transport.http.decoding import decoded
from chorus.llm.transport.http.errors import (
    CannotConnect,
    ClientPayloadError,
    ClientResponseError,
    ServerDisconnectedError,
)
from chorus.llm.transport.http.pool import ConnectionPool
from chorus.llm.transport.http.request import header_line, request_head
from chorus.llm.transport.http.response import Response

__all__ = [
    "CannotConnect",
    "ClientPayloadError",
    "ClientResponseError",
    "ConnectionPool",
    "Origin",
    "Response",
    "ServerDisconnectedError",
    "decoded",
    "header_line",
    "request_head",
]
