"""A SOCKS server (versions 4, 4a and 5) that leads every connection to one place, and remembers
where it was to go.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_GRANTED_4: Final = b"\x00\x5a" + bytes(6)
_REFUSED_4: Final = b"\x00\x5b" + bytes(6)
_NO_METHOD: Final = b"\x05\xff"


class SocksServer:
    """A proxy whose every tunnel ends at port `target` of this machine.

    Attributes: `port`, `destinations` (version, host and port as the client named them, in order),
    `open_tunnels`.
    """

    def __init__(self, target: int, *, user: str = "", password: str = "", refuses: bool = False) -> None:
        """With a `user` it wants that name and `password`; one that `refuses` opens no tunnel."""
        self.port = 0
        self.destinations: list[tuple[int, str, int]] = []
        self.open_tunnels = 0
        self._target = target
        self._login = (user, password)
        self._refuses = refuses
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            version = (await reader.readexactly(1))[0]
            is_open = await (self._socks5(reader, writer) if version == 5 else self._socks4(reader, writer))
            if is_open:
                await self._tunnel(reader, writer)
        writer.close()

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if self._login[0] else 0
        if wanted not in methods:
            writer.write(_NO_METHOD)
            return False
        writer.write(bytes([5, wanted]))
        if wanted == 2:
            await reader.readexactly(1)
            login = [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)]
            is_right = tuple(login) == self._login
            writer.write(bytes([1, 0 if is_right else 1]))
            if not is_right:
                return False
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        self._note(5, host, await reader.readexactly(2))
        writer.write(bytes([5, 5 if self._refuses else 0, 0, 1]) + bytes(6))
        return not self._refuses

    async def _socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readexactly(1)
        port = await reader.readexactly(2)
        address = await reader.readexactly(4)
        await reader.readuntil(b"\0")
        host = str(ipaddress.ip_address(address))
        if host.startswith("0.0.0."):  # 4a: the name follows
            host = (await reader.readuntil(b"\0"))[:-1].decode()
        self._note(4, host, port)
        writer.write(_REFUSED_4 if self._refuses else _GRANTED_4)
        return not self._refuses

    def _note(self, version: int, host: str, port: bytes) -> None:
        self.destinations.append((version, host, struct.unpack(">H", port)[0]))

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self.open_tunnels += 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer))
                group.create_task(_copy(far_reader, writer))
        finally:
            self.open_tunnels -= 1
            far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
