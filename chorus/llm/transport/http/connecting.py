"""A new connection to an origin: its name looked up, its addresses tried in parallel, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, NamedTuple

import anyio
from aiohappyeyeballs import start_connection

from chorus.llm.transport.http.connection import Connection, Owner
from chorus.llm.transport.http.errors import CannotConnect
from chorus.llm.transport.http.resolving import AddressInfo, Resolver

ATTEMPT_DELAY_SECS: Final = 0.25
"""Before the next address is tried as well (RFC 8305, 5)."""


class Origin(NamedTuple):
    """Where connections go. `tls` is the trust store, or None for plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None


async def connect(origin: Origin, resolver: Resolver, owner: Owner, *, within: float) -> Connection:
    """Return a new connection, within `within` seconds for everything.

    Raises:
        TimeoutError: it takes longer.
        CannotConnect: it cannot be had.
    """
    try:
        with anyio.fail_after(within):
            return await _connect(origin, await resolver.addresses(), owner)
    except RuntimeError as problem:  # uvloop raises it for some errors of the operating system
        raise CannotConnect(None, str(problem)) from problem
    except OSError as problem:
        if isinstance(problem, TimeoutError) and problem.errno is None:
            raise
        raise CannotConnect(problem.errno, problem.strerror or type(problem).__name__) from problem


async def _connect(origin: Origin, addresses: list[AddressInfo], owner: Owner) -> Connection:
    loop = asyncio.get_running_loop()
    sock = await start_connection(addresses, happy_eyeballs_delay=ATTEMPT_DELAY_SECS, loop=loop)
    connection = Connection(owner, loop)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = origin.host.rstrip(".") if origin.tls is not None else None
        await loop.create_connection(lambda: connection, sock=sock, ssl=origin.tls, server_hostname=name)
    except BaseException:
        connection.abort()
        sock.close()
        raise
    return connection
