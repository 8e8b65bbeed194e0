"""Whether a client takes the bytes that wait for it, and whether it is there at all."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from typing import Any, Final

_ACKED: Final = struct.Struct("@Q")
_ACKED_AT: Final = 120
"""Where `tcpi_bytes_acked` stands in Linux's `struct tcp_info` (linux/tcp.h): 8 bytes of flags, 24
numbers of 4 bytes and 2 of 8 come before it."""


class Progress:
    """What waits to be sent on one connection, and since when the client has taken none of it."""

    __slots__ = ("_acked", "_socket", "_transport", "stalled_since", "waiting")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._acked: int | None = None
        self.waiting = 0
        """Bytes that the kernel had no room for at the last look."""
        self.stalled_since: float | None = None
        """When the client was last seen to take some of them, in the event loop's time.

        None while none wait.
        """

    def look(self, now: float) -> int:
        """Return how many bytes wait, and note whether the client has taken some."""
        waiting = self._transport.get_write_buffer_size()
        if waiting:
            acked = bytes_acked(self._socket)
            if self.stalled_since is None or waiting < self.waiting or acked != self._acked:
                self.stalled_since = now
            self._acked = acked
        else:
            self.stalled_since = None
        self.waiting = waiting
        return waiting


def bytes_acked(connection: socket.socket) -> int | None:
    """Return how many bytes the client's kernel has ever acknowledged on a TCP connection; None
    where the system does not tell.

    What waits in this process is too coarse a measure: Linux makes room in a full socket once a
    third of it is empty, which is a megabyte, and a client that reads 10 kB a second would seem to
    take nothing for two minutes.
    """
    if sys.platform != "linux":
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except (OSError, ValueError):  # not TCP, or closed a moment ago
        return None
    return _ACKED.unpack_from(info, _ACKED_AT)[0] if len(info) >= _ACKED_AT + _ACKED.size else None


def has_left(transport: asyncio.Transport) -> bool:
    """Return whether the client has closed its side of a connection, whatever waits to be read of
    it. Where the system does not tell (Linux does), it has not.
    """
    left: int | None = getattr(select, "POLLRDHUP", None)
    connection: Any = transport.get_extra_info("socket")
    if left is None or connection is None or connection.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), left)
    return bool(poll.poll(0))
