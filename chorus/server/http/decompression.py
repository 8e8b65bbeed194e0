"""Request bodies that clients compressed: gzip, deflate and zstd, within bounds.

Codex sends zstd, other clients gzip. What counts is the size of what comes out: a few kilobytes may
become gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import anyio.to_thread

from chorus.errors import BodyTooLarge, InvalidRequest, UnsupportedEncoding
from chorus.zstd import zstd

_HERE: Final = 1024 * 1024
"""Bytes that are decompressed on the event loop: 3 ms. The rest is done in a worker thread."""
_SLICE: Final = 256 * 1024
_MAX_FRAMES: Final = 64
"""Members of a gzip file, or frames of zstd, that one body may have. An empty one has 10 bytes and
takes a microsecond."""
_MAX_LAYERS: Final = 2
"""Encodings of one body."""
_GZIP: Final = 16 + zlib.MAX_WBITS


class _Decompressor(Protocol):
    """What zlib's and zstd's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


async def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return `body` without the encodings that the header `Content-Encoding` names.

    Raises:
        UnsupportedEncoding: one is none of those that are read.
        BodyTooLarge: more than `max_bytes` come out.
        InvalidRequest: it is not what the header says.
    """
    names = [name for coding in encoding.lower().split(",") if (name := coding.strip()) not in ("", "identity")]
    if len(names) > _MAX_LAYERS:
        raise UnsupportedEncoding(f"The request body is compressed more than {_MAX_LAYERS} times.")
    for name in reversed(names):
        make = _maker(name)
        body = await _decompressed(body, name, make, max_bytes)
    return body


def _maker(name: str) -> Callable[[bytes], _Decompressor]:
    """Return what makes a decompressor for a body."""
    if name in ("gzip", "x-gzip"):
        return lambda body: _Zlib(_GZIP)
    if name == "deflate":  # some send it without its header
        return lambda body: _Zlib(zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS)
    if name == "zstd":
        try:
            make: Callable[[], _Decompressor] = zstd().ZstdDecompressor
        except ImportError:
            raise UnsupportedEncoding("This Python has no zstd; send gzip, or the body as it is.") from None
        return lambda body: make()
    raise UnsupportedEncoding("This content encoding is not read; send gzip, deflate, zstd, or the body as it is.")


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0


class _Zlib:
    """zlib's decompressor with the interface of zstd's, which keeps what it has not read yet."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


async def _decompressed(body: bytes, name: str, make: Callable[[bytes], _Decompressor], max_bytes: int) -> bytes:
    if not body:
        return b""
    parts = _parts(body, make)
    whole = bytearray()

    def read_to(limit: int) -> bool:
        """Read on until there are `limit` bytes; tells whether that was all."""
        for part in parts:
            whole.extend(part)
            if len(whole) > max_bytes:
                raise BodyTooLarge(
                    f"The request body is larger than the {max_bytes} bytes that are read when it is decompressed"
                    " ([server] max_body_bytes)."
                )
            if len(whole) >= limit:
                return False
        return True

    try:
        is_small = len(body) <= _HERE and read_to(_HERE)
        while not is_small and not await anyio.to_thread.run_sync(read_to, len(whole) + 16 * _HERE):
            pass
    except BodyTooLarge:
        raise
    except Exception:  # zlib.error, ZstdError, EOFError: each library has its own
        raise InvalidRequest(f"The request body is not the {name} that its Content-Encoding says.") from None
    return bytes(whole)


def _parts(body: bytes, make: Callable[[bytes], _Decompressor]) -> Iterator[bytes]:
    """Return what comes out, in slices."""
    for _ in range(_MAX_FRAMES):
        reader = make(body)
        given = body
        while not reader.eof:
            part = reader.decompress(given, _SLICE)
            given = b""
            if not part and not reader.eof:
                raise EOFError
            yield part
        body = reader.unused_data.lstrip(b"\0")
        if not body:
            return
    raise EOFError
