"""Temporary files of uploads: bounded together, and gone with their request (S3)."""

from __future__ import annotations

import os

import pytest

from chorus.errors import QueueFull, StorageUnavailable
from chorus.server.http.spool import Spool, SpoolRoom

pytestmark = pytest.mark.requirement("S3")


async def read(spool: Spool, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in spool.pieces(start, end)])


async def test_what_is_written_is_read() -> None:
    room = SpoolRoom()
    spool = Spool(room)
    data = os.urandom(1_000_003)
    for start in range(0, len(data), 70_000):
        await spool.write(data[start : start + 70_000])
    await spool.flush()
    assert spool.size == room.used == len(data)
    for start, end in ((0, len(data)), (0, 0), (7, 7), (5, 300_000), (262_143, 262_145), (999_999, len(data))):
        for _ in range(2):
            assert await read(spool, start, end) == data[start:end]
    await spool.aclose()
    assert room.used == 0
    await spool.aclose()


async def test_the_room_is_bounded_for_all_together() -> None:
    room = SpoolRoom(100)
    one, two = Spool(room), Spool(room)
    await one.write(b"x" * 60)
    with pytest.raises(QueueFull):
        await two.write(b"x" * 60)
    await two.write(b"x" * 40)
    await one.aclose()
    await two.write(b"x" * 60)
    await two.aclose()
    assert room.used == 0


async def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    spool = Spool(SpoolRoom())
    await spool.write(b"x")
    with pytest.raises(StorageUnavailable):
        await spool.flush()
    await spool.aclose()
