"""Split a byte stream into lines, however the network cut it."""

from __future__ import annotations

from typing import Final

from chorus.errors import UpstreamProtocol

MAX_LINE: Final = 32 * 1024 * 1024
"""Bytes of the longest line that is collected. An upstream that never ends one would otherwise
fill the memory."""


class LineSplitter:
    """Splits on `\\n`, `\\r\\n` and `\\r` only, and on bytes.

    `str.splitlines` and httpx's `iter_lines` also split on U+2028, U+2029 and U+0085, which are
    legal inside JSON strings; and decoding each network chunk by itself breaks characters that were
    cut in two. The cost is linear in the bytes, whatever the cut.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # a list of pieces would take 40 bytes for each piece of one byte
        self._after_cr = False

    @property
    def pending(self) -> int:
        """Bytes of the line that has begun."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends.

        Raises:
            UpstreamProtocol: a line grew beyond `MAX_LINE`.
        """
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        if not data:
            return []
        if b"\r" in data:
            lines = data.splitlines()
            self._after_cr = data.endswith(b"\r")
            tail = b"" if data[-1:] in (b"\r", b"\n") else lines.pop()
        else:
            lines = data.split(b"\n")
            tail = lines.pop()
        if lines and self._rest:
            self._rest += lines[0]
            lines[0] = bytes(self._rest)
            self._rest.clear()
        if tail:
            self._rest += tail
            if len(self._rest) > MAX_LINE:
                raise UpstreamProtocol(f"The upstream sent a line longer than {MAX_LINE >> 20} MiB")
        return lines

    def flush(self) -> list[bytes]:
        """Return the last line, when the stream ended without closing it."""
        last = bytes(self._rest)
        self._rest.clear()
        return [last] if last else []
