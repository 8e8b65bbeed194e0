"""Compressed bodies, which nobody asked for: decompressed as they come, within bounds (L3)."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Sequence

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.transport.http import ClientPayloadError, Response, decoded
from chorus.llm.transport.http.decoding import MAX_DECODED, DecodedResponse

pytestmark = [
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
TEXT = b'{"choices": []}' * 100


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESS = {
    "gzip": gzip.compress,
    "GZIP": lambda data: gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:]),
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    " deflate": _raw_deflate,
    "zstd": zstd.compress,
    "ZSTD": lambda data: zstd.compress(data[:7]) + zstd.compress(data[7:]),
    "identity": bytes,
}


class _Source:
    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abandon(self) -> None:
        pass


async def parts_of(encoding: str, pieces: Sequence[bytes], *, is_whole: bool = True) -> list[bytes]:
    """What is read of a body that comes in `pieces`, each read before the next one comes."""
    response = Response(_Source(), asyncio.get_running_loop())
    response.begin(200, {"content-encoding": encoding})
    reader: Response | DecodedResponse = decoded(response)
    parts: list[bytes] = []

    async def read() -> None:
        while part := await reader.readany():
            parts.append(part)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for piece in pieces:
            response.parts.append(piece)
            response.arrived(len(piece))
            await asyncio.sleep(0)
        if is_whole:
            response.end()
    return parts


@pytest.mark.parametrize("encoding", COMPRESS)
@given(size=st.integers(1, 100))
def test_a_compressed_body_is_read_as_it_was(encoding: str, size: int) -> None:
    data = COMPRESS[encoding](TEXT)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(asyncio.run(parts_of(encoding, pieces))) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_what_has_come_is_read_at_once(encoding: str) -> None:
    """Of a stream that the upstream flushes after each event."""
    if encoding == "zstd":
        compressor = zstd.ZstdCompressor()
        first = compressor.compress(b"one") + compressor.flush(mode=compressor.FLUSH_BLOCK)
    else:
        zlibs = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
        first = zlibs.compress(b"one") + zlibs.flush(zlib.Z_SYNC_FLUSH)
    response = Response(_Source(), asyncio.get_running_loop())
    response.begin(200, {"content-encoding": encoding})
    response.parts.append(first)
    async with asyncio.timeout(5):
        assert await decoded(response).readany() == b"one"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_what_comes_out_at_one_read_is_bounded(encoding: str) -> None:
    size = 5_000_000
    parts = await parts_of(encoding, [COMPRESS[encoding](bytes(size))])
    assert sum(map(len, parts)) == size
    assert max(map(len, parts)) <= MAX_DECODED


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_a_body_that_is_cut_off_or_something_else_is_an_error(encoding: str) -> None:
    for data in (COMPRESS[encoding](TEXT)[:-1], b'{"choices": []}', COMPRESS[encoding](TEXT) + b'{"x"'):
        with pytest.raises(ExceptionGroup) as failed:
            await parts_of(encoding, [data])
        assert failed.group_contains(ClientPayloadError)
    assert await parts_of(encoding, []) == []


async def test_an_encoding_that_cannot_be_read_is_an_error() -> None:
    response = Response(_Source(), asyncio.get_running_loop())
    response.begin(200, {"content-encoding": "br"})
    with pytest.raises(ClientPayloadError):
        decoded(response)
