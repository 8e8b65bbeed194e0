"""A small DNS server on a real socket, by UDP and by TCP, for names that a test gives it.

    async with DnsServer() as dns:
        dns.records = [Srv("llm-glm.service.consul", 1, 1, 50051, "w1.example"), A("w1.example", "127.0.0.1")]

It writes messages itself (RFC 1035, 2782), so that it shares no mistake with the resolver that is
tested.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .changes import Changes
from .ports import free_port

NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5
_KINDS = {"A": 1, "AAAA": 28, "SRV": 33}


@dataclass
class A:
    """An address of a name; an IPv6 one makes an AAAA record."""

    name: str
    address: str
    ttl: int = 1

    @property
    def kind(self) -> str:
        return "A" if "." in self.address else "AAAA"

    def data(self) -> bytes:
        return ipaddress.ip_address(self.address).packed


@dataclass
class Srv:
    """A service at a host and port."""

    name: str
    priority: int
    weight: int
    port: int
    target: str
    ttl: int = 1
    kind = "SRV"

    def data(self) -> bytes:
        return struct.pack("!HHH", self.priority, self.weight, self.port) + _name(self.target)


Record = A | Srv


class DnsServer:
    """Answers for `records`.

    `status` is answered instead where it is set; `hangs` answers nothing; `truncates` says by UDP
    that the answer is cut, so that it is asked for by TCP; `additional` adds the addresses of SRV
    targets.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.records: list[Record] = []
        self.status: int | None = None
        self.hangs = False
        self.truncates = False
        self.additional = True
        self.questions: list[tuple[str, str, str]] = []
        """Name, kind, and `udp` or `tcp`."""
        self._changes = Changes()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def until_asked(self, count: int, timeout: float = 15.0) -> None:
        """Wait until `count` questions have come."""
        await self._changes.until(lambda: len(self.questions) >= count, timeout, lambda: str(self.questions))

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._stream, "127.0.0.1", self.port)
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), ("127.0.0.1", self.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._udp is not None
        assert self._tcp is not None
        self._udp.close()
        self._tcp.close()

    def answer(self, question: bytes, transport: str) -> bytes | None:
        """The answer to one message; None where there is none."""
        name, kind, end = _question(question)
        self.questions.append((name, kind, transport))
        self._changes.notify()
        if self.hangs:
            return None
        mine = [each for each in self.records if each.name == name]
        answers = [each for each in mine if each.kind == kind]
        status = self.status if self.status is not None else (0 if mine else NXDOMAIN)
        flags = 0x8180 | status
        if status or (self.truncates and transport == "udp"):
            flags |= 0x0200 if not status else 0
            answers = []
        targets = {each.target for each in answers if isinstance(each, Srv)} if self.additional else set()
        more = [each for each in self.records if each.name in targets]
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 0, len(more))
        return head + question[12:end] + b"".join(_written(each) for each in [*answers, *more])

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = struct.unpack("!H", await reader.readexactly(2))[0]
        answer = self.answer(await reader.readexactly(length), "tcp")
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, addr)


def _question(message: bytes) -> tuple[str, str, int]:
    """The name and the kind that a message asks for, and where its question ends."""
    labels, at = [], 12
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode().lower())
        at += length + 1
    kind = struct.unpack("!H", message[at + 1 : at + 3])[0]
    names = {number: name for name, number in _KINDS.items()}
    return ".".join(labels), names.get(kind, str(kind)), at + 5


def _name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _written(record: Record) -> bytes:
    data = record.data()
    return _name(record.name) + struct.pack("!HHIH", _KINDS[record.kind], 1, record.ttl, len(data)) + data
