"""Server-sent events out of a byte stream (WHATWG HTML, 9.2.6), as upstreams really send them."""

from __future__ import annotations

from chorus.llm.lines import LineSplitter

_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Feed bytes, get the `data` of each event. Sans I/O; any split of the input gives the same events.

    Takes `data:` with and without its space, data of several lines, comments, `event:` and `id:` lines (the JSON in
    `data` says all that we need), and a last event without its closing blank line.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._data: list[bytes] = []
        self._first = True

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes."""
        return self._take(self._lines.feed(data))

    def flush(self) -> list[bytes]:
        """The last event, when the stream ended without closing it."""
        events = self._take(self._lines.flush())
        if self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()
        return events

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        held = self._data
        if self._first and lines:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if not line:
                if held:
                    events.append(held[0] if len(held) == 1 else b"\n".join(held))
                    held.clear()
            elif line.startswith(b"data: "):
                held.append(line[6:])
            elif line.startswith(b"data:"):
                held.append(line[5:])
            elif line == b"data":
                held.append(b"")
        return events
