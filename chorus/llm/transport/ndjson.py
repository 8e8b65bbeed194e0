"""Decode lines of JSON."""

from __future__ import annotations

from chorus.llm.transport.lines import LineSplitter


class NDJSONDecoder:
    """Feed bytes, get the lines that hold something.

    Sans I/O; any split of the input gives the same lines.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes; blank ones are left out."""
        return [line for line in self._lines.feed(data) if line.strip()]

    def flush(self) -> list[bytes]:
        """Return the last line, when the stream ended without closing it."""
        return [line for line in self._lines.flush() if line.strip()]
