"""The addresses of a host."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

KEPT_SECS: Final = 10.0
"""How long addresses are used without another look-up."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""What `socket.getaddrinfo` returns: family, type, protocol, canonical name and address."""


class Resolver:
    """The addresses of one host and port.

    There is one look-up at a time, which goes on when its first waiter gives up: a name whose
    look-up hangs takes one thread, and not those of other names too.
    """

    def __init__(self, host: str, port: int) -> None:
        self._look_up: Callable[..., Any] = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        self._is_address = _is_address(host)
        self._found: list[AddressInfo] = []
        self._kept_until = 0.0
        self._looking: asyncio.Future[list[AddressInfo]] | None = None

    async def addresses(self) -> list[AddressInfo]:
        """Return the addresses.

        Raises:
            OSError: the name is not known, or no server knows.
        """
        if self._is_address:
            numeric: list[AddressInfo] = self._look_up(flags=socket.AI_NUMERICHOST)  # asks nobody
            return numeric
        loop = asyncio.get_running_loop()
        if loop.time() < self._kept_until:
            return self._found
        looking = self._looking
        if looking is None:
            look_up = partial(self._look_up, flags=socket.AI_ADDRCONFIG)
            looking = self._looking = loop.run_in_executor(None, look_up)
            looking.add_done_callback(self._looked)
        return await asyncio.shield(looking)

    def _looked(self, looking: asyncio.Future[list[AddressInfo]]) -> None:
        self._looking = None
        if not looking.cancelled() and looking.exception() is None:
            self._found = looking.result()
            self._kept_until = looking.get_loop().time() + KEPT_SECS


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
