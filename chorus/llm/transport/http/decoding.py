"""Bodies that an upstream compressed although it was asked not to."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final, Protocol

from chorus.llm.transport.http.errors import ClientPayloadError
from chorus.llm.transport.http.response import Response

MAX_DECODED: Final = 256 * 1024
"""Bytes that come out at one read; a kilobyte may hold megabytes."""


class _Decompressor(Protocol):
    """What the decompressors of zlib and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data has come."""

    @property
    def unused_data(self) -> bytes:
        """What came behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most `max_length` bytes, of `data` and of what is kept of earlier ones."""

    @property
    def has_more(self) -> bool:
        """Whether bytes may come out without any put in."""


class DecodedResponse:
    """A response whose body is decompressed as it is read.

    It may be several compressed files in a row (RFC 1952, 2.2).
    """

    def __init__(self, response: Response, make: Callable[[], _Decompressor]) -> None:
        self._response = response
        self._make = make
        self._decompressor: _Decompressor | None = None
        """None before the first byte of a compressed file."""
        self._rest = b""
        """What has come behind the end of a compressed file."""
        self.status = response.status
        self.headers = response.headers
        self.close = response.close

    async def readany(self) -> bytes:
        """Return what of the body has come, as soon as there is any; nothing at its end.

        Raises:
            OSError, ClientPayloadError: the body is not whole, or not compressed as its head says.
        """
        while True:
            data, self._rest = self._rest, b""
            if not data and (self._decompressor is None or not self._decompressor.has_more):
                data = await self._response.readany()
                if not data:
                    if self._decompressor is not None:
                        raise ClientPayloadError("the compressed body is cut off")
                    return b""
            if part := self._decompressed(data):
                return part

    def _decompressed(self, data: bytes) -> bytes:
        decompressor = self._decompressor = self._decompressor or self._make()
        try:
            part = decompressor.decompress(data, MAX_DECODED)
        except Exception as problem:  # each library has an error of its own
            raise ClientPayloadError("the body is not compressed as its head says") from problem
        if decompressor.eof:
            self._rest, self._decompressor = decompressor.unused_data, None
        return part


def decoded(response: Response) -> Response | DecodedResponse:
    """Return `response`, decompressed as it is read if its head says that it is compressed.

    Raises:
        ClientPayloadError: it is compressed in a way that cannot be read. The response is closed.
    """
    encoding = response.headers.get("content-encoding")
    if encoding is None:
        return response
    name = encoding.strip().lower()
    make = _DECOMPRESSORS.get(name)
    if make is not None:
        return DecodedResponse(response, make)
    if name in ("", "identity"):
        return response
    response.close()
    raise ClientPayloadError("the body has an unknown content-encoding")


class _Zlib:
    """gzip, or deflate with or without zlib's header, which some servers leave out."""

    def __init__(self, window: int | None) -> None:
        """`window` is zlib's `wbits`; None: the first byte tells whether there is a header."""
        self._inner = None if window is None else zlib.decompressobj(window)
        self._kept = b""
        self.has_more = False

    @property
    def eof(self) -> bool:
        """See `_Decompressor`."""
        return self._inner is not None and self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """See `_Decompressor`."""
        return b"" if self._inner is None else self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """See `_Decompressor`."""
        inner = self._inner
        if inner is None:
            has_header = data[0] & 0x0F == 8  # RFC 1950, 2.2: the method is 8
            inner = self._inner = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        part = inner.decompress(self._kept + data, max_length)
        self._kept = inner.unconsumed_tail
        self.has_more = not inner.eof and (bool(self._kept) or len(part) == max_length)
        return part


class _Zstd:
    """zstd."""

    def __init__(self) -> None:
        self._inner = _zstd().ZstdDecompressor()

    @property
    def eof(self) -> bool:
        """See `_Decompressor`."""
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        """See `_Decompressor`."""
        return bytes(self._inner.unused_data)

    @property
    def has_more(self) -> bool:
        """See `_Decompressor`."""
        return not self._inner.eof and not self._inner.needs_input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """See `_Decompressor`."""
        return bytes(self._inner.decompress(data, max_length))


@cache
def _zstd() -> Any:
    """Python's module for zstd: its own from 3.14 on."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ClientPayloadError("zstd cannot be read here")


_DECOMPRESSORS: Final[dict[str, Callable[[], _Decompressor]]] = {
    "gzip": partial(_Zlib, 16 + zlib.MAX_WBITS),
    "x-gzip": partial(_Zlib, 16 + zlib.MAX_WBITS),
    "deflate": partial(_Zlib, None),
    "zstd": _Zstd,
}
