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
        for line in lines:
            if self._first:
                self._first = False
                line = line.removeprefix(_BOM)
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data.clear()
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._data.append(b"")
        return events
