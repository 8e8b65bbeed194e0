"""Decode server-sent events (WHATWG HTML, 9.2.6) as upstreams really send them."""

from __future__ import annotations

from typing import Final

from chorus.errors import UpstreamProtocol
from chorus.llm.transport.lines import LineSplitter

MAX_EVENT: Final = 32 * 1024 * 1024
"""Bytes of the largest event that is collected, its unfinished line included."""

_BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    """Feed bytes, get the `data` of each event.

    Sans I/O; any split of the input gives the same events.

    Takes `data:` with and without its space, data of several lines, comments, `event:` and `id:`
    lines (the JSON in `data` says all that we need), and a last event without its closing blank
    line. Only the data of an event named `error` are put into an object: `{"error": data}`.
    Comments and blank lines are dropped as they come, so that an upstream may send them for ever.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._data: bytes | bytearray | None = None
        """What the event holds so far; bytes while it has one line, as nearly all have."""
        self._first = True
        self._is_error = False
        """Whether the event that is open is named `error`."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that `data` completes.

        Raises:
            UpstreamProtocol: an event grew beyond `MAX_EVENT`, or a line beyond its own limit.
        """
        events = self._take(self._lines.feed(data))
        if self._data is not None and len(self._data) + self._lines.pending > MAX_EVENT:
            raise UpstreamProtocol(f"The upstream sent an event larger than {MAX_EVENT >> 20} MiB")
        return events

    def flush(self) -> list[bytes]:
        """Return the last event, when the stream ended without closing it."""
        events = self._take(self._lines.flush())
        if self._data is not None:
            data, self._data = bytes(self._data), None
            events.append(_as_error(data) if self._is_error else data)
        return events

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        held = self._data
        if self._first and lines:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if not line:
                if held is not None:
                    whole = held if type(held) is bytes else bytes(held)
                    events.append(_as_error(whole) if self._is_error else whole)
                    held = None
                self._is_error = False
                continue
            if line.startswith(b"data: "):
                value = line[6:]
            elif line.startswith(b"data:"):
                value = line[5:]
            elif line == b"data":
                value = b""
            else:
                if line.startswith(b"event:"):
                    self._is_error = line[6:].strip() == b"error"
                continue
            if held is None:
                held = value
            else:
                if type(held) is bytes:
                    held = bytearray(held)
                held += b"\n"
                held += value
        self._data = held
        return events


def _as_error(data: bytes) -> bytes:
    return b'{"error":' + data + b"}"
