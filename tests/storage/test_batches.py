"""The contract of files and batches, for every store."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from chorus.errors import InvalidRequest, NotFound, TooManyRuns
from chorus.storage.base import Storage
from chorus.storage.records import READ_BYTES, Batch, BatchBounds, LineResult, Retention
from tests.storage.conftest import Maker, gone

pytestmark = [pytest.mark.requirement("M2"), pytest.mark.requirement("M7")]
ANN, BEN = "1a2b3c4d", "5e6f7a8b"
DAY = 86_400.0


async def uploaded(storage: Storage, owner: str, id: str, *pieces: bytes, keep_secs: float = DAY) -> None:
    await storage.files.create(owner, id, "batch", f"{id}.jsonl")
    for number, piece in enumerate(pieces):
        await storage.files.add(owner, id, number, piece)
    await storage.files.finish(owner, id, keep_secs)


async def content(storage: Storage, owner: str, id: str) -> bytes | None:
    pieces: list[bytes] = []
    first: int | None = 0
    while first is not None:
        part = await storage.files.read(owner, id, first)
        if part is None:
            return None
        pieces += part.pieces
        first = part.next
    return b"".join(pieces)


def new_batch(id: str = "batch_1", owner: str = ANN) -> Batch:
    return Batch(
        owner, id, "file-in", f"file-out-{id}", f"file-err-{id}", 2e9, 2e9 + DAY, b'{"endpoint":"\xe5\xa5\xbd"}'
    )


async def claimed(storage: Storage, process: str = "p1") -> Batch:
    batch = await storage.batches.claim(process)
    assert batch is not None
    return batch


def line(number: int, *, is_error: bool = False, data: bytes | None = None) -> LineResult:
    return LineResult(number, is_error, data or b"%d\n" % number, (10, 8, 5, 3))


class TestFiles:
    async def test_a_file_exists_when_it_is_finished_until_it_is_deleted(self, storage: Storage) -> None:
        await storage.files.create(ANN, "file-1", "batch", "a 好.jsonl")
        await storage.files.add(ANN, "file-1", 0, b"one\n")
        assert await storage.files.get(ANN, "file-1") is None
        assert await content(storage, ANN, "file-1") is None
        assert (await storage.files.page(ANN)).files == []
        await storage.files.add(ANN, "file-1", 1, bytes(range(256)))
        made = await storage.files.finish(ANN, "file-1", DAY)
        assert (made.name, made.purpose, made.size) == ("a 好.jsonl", "batch", 260)
        assert made.expires_at - made.created_at == pytest.approx(DAY)
        assert await storage.files.get(ANN, "file-1") == made
        assert await content(storage, ANN, "file-1") == b"one\n" + bytes(range(256))
        assert await storage.files.delete(ANN, "file-1")
        assert not await storage.files.delete(ANN, "file-1")
        assert await storage.files.get(ANN, "file-1") is None
        assert await content(storage, ANN, "file-1") is None

    async def test_an_empty_file_is_one(self, storage: Storage) -> None:
        await uploaded(storage, ANN, "file-1")
        assert await content(storage, ANN, "file-1") == b""

    async def test_another_owners_file_does_not_exist(self, storage: Storage) -> None:
        await uploaded(storage, ANN, "file-1", b"1")
        assert await storage.files.get(BEN, "file-1") is None
        assert await content(storage, BEN, "file-1") is None
        assert not await storage.files.delete(BEN, "file-1")
        assert (await storage.files.page(BEN)).files == []
        for refused in (storage.files.add(BEN, "file-1", 1, b"2"), storage.files.finish(BEN, "file-1", DAY)):
            with pytest.raises(NotFound):
                await refused
        assert await content(storage, ANN, "file-1") == b"1"

    async def test_a_large_file_is_read_in_parts(self, storage: Storage) -> None:
        pieces = [bytes([number]) * (READ_BYTES // 2 + 1) for number in range(5)]
        await uploaded(storage, ANN, "file-1", *pieces)
        part = await storage.files.read(ANN, "file-1")
        assert part is not None
        assert (part.pieces, part.next) == (pieces[:2], 2)
        assert await content(storage, ANN, "file-1") == b"".join(pieces)

    async def test_files_are_listed_in_pages_with_an_exact_has_more(self, storage: Storage) -> None:
        for number in range(4):
            await uploaded(storage, ANN, f"file-{number}", b"1")
        await uploaded(storage, BEN, "file-4", b"1")
        page = await storage.files.page(ANN, limit=2)
        assert ([file.id for file in page.files], page.has_more) == (["file-3", "file-2"], True)
        page = await storage.files.page(ANN, limit=2, after="file-2", purpose="batch")
        assert ([file.id for file in page.files], page.has_more) == (["file-1", "file-0"], False)
        page = await storage.files.page(ANN, order="asc", after="file-0", limit=3)
        assert ([file.id for file in page.files], page.has_more) == (["file-1", "file-2", "file-3"], False)
        assert (await storage.files.page(ANN, purpose="batch_output")).files == []
        with pytest.raises(NotFound):
            await storage.files.page(ANN, after="file-4")

    async def test_a_file_is_forgotten_when_its_time_is_over(self, storage: Storage) -> None:
        await uploaded(storage, ANN, "file-1", b"1", keep_secs=0.05)
        await gone(lambda: storage.files.get(ANN, "file-1"))
        assert await content(storage, ANN, "file-1") is None
        assert (await storage.files.page(ANN)).files == []
        assert not await storage.files.delete(ANN, "file-1")

    async def test_an_owner_has_so_many_files_and_bytes(self, make: Maker) -> None:
        async with make(Retention(batches=BatchBounds(max_files=2, max_bytes=10))) as storage:
            await uploaded(storage, ANN, "file-1", b"12345")
            await storage.files.create(ANN, "file-2", "batch", "b")
            with pytest.raises(InvalidRequest, match="2 files"):
                await storage.files.create(ANN, "file-3", "batch", "c")
            await storage.files.add(ANN, "file-2", 0, b"12345")
            with pytest.raises(InvalidRequest, match="10 bytes"):
                await storage.files.add(ANN, "file-2", 1, b"1")
            await uploaded(storage, BEN, "file-1", b"1234567890")
            assert await storage.files.delete(ANN, "file-1")
            await storage.files.add(ANN, "file-2", 1, b"1")


class TestBatches:
    async def test_a_batch_is_read_and_listed_newest_first(self, storage: Storage) -> None:
        made = [await storage.batches.create(new_batch(f"batch_{number}")) for number in range(4)]
        await storage.batches.create(new_batch("batch_4", BEN))
        assert await storage.batches.get(ANN, "batch_1") == made[1]
        assert await storage.batches.get(BEN, "batch_1") is None
        page = await storage.batches.page(ANN, limit=3)
        assert (page.batches, page.has_more) == (made[:0:-1], True)
        page = await storage.batches.page(ANN, limit=1, after="batch_1")
        assert (page.batches, page.has_more) == (made[:1], False)
        with pytest.raises(NotFound):
            await storage.batches.page(ANN, after="batch_4")

    async def test_one_process_has_the_oldest_batch(self, storage: Storage) -> None:
        assert await storage.batches.claim("p1") is None
        for id in ("batch_1", "batch_2"):
            await storage.batches.create(new_batch(id))
        batches: list[Batch] = []

        async def claim(process: str) -> None:
            if (batch := await storage.batches.claim(process)) is not None:
                batches.append(batch)

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(claim, f"p{number}")
        assert sorted(batch.id for batch in batches) == ["batch_1", "batch_2"]
        assert len({batch.process for batch in batches}) == 2
        first = next(batch for batch in batches if batch.id == "batch_1")
        assert await storage.batches.renew(first.process) == [first]

    async def test_a_batch_goes_on_elsewhere_when_it_is_released(self, storage: Storage) -> None:
        await storage.batches.create(new_batch())
        await claimed(storage)
        assert await storage.batches.claim("p2") is None
        await storage.batches.release("p2")
        assert await storage.batches.claim("p2") is None
        await storage.batches.release("p1")
        assert (await claimed(storage, "p2")).process == "p2"

    async def test_a_batch_goes_on_elsewhere_when_its_lease_is_over(self, make: Maker) -> None:
        async with make(Retention(batches=BatchBounds(lease_secs=0.05))) as storage:
            await storage.batches.create(new_batch())
            lost = await claimed(storage)
            assert await storage.batches.record(lost, [line(0)])
            taken = None
            with anyio.fail_after(10):
                while taken is None:
                    taken = await storage.batches.claim("p2")
                    await anyio.sleep(0.01)
            assert taken.completed == 1
            assert not await storage.batches.record(lost, [line(1)])
            assert not await storage.batches.update(msgspec.structs.replace(lost, status="finalizing"))
            assert not await storage.batches.finish(msgspec.structs.replace(lost, status="completed"), DAY)
            assert await storage.batches.renew("p1") == []
            assert await storage.batches.done(taken) == {0}
            assert await storage.batches.record(taken, [line(1)])

    async def test_lines_are_kept_once_and_counted(self, storage: Storage) -> None:
        await storage.batches.create(new_batch())
        batch = await claimed(storage)
        assert await storage.batches.done(batch) == set()
        assert await storage.batches.record(batch, [line(12), line(3, is_error=True), line(2)])
        assert await storage.batches.record(batch, [line(2, data=b"again\n"), line(3), line(2, is_error=True)])
        assert await storage.batches.record(batch, [line(100)])
        assert await storage.batches.done(batch) == {2, 3, 12, 100}
        kept = await storage.batches.get(ANN, "batch_1")
        assert kept is not None
        assert (kept.completed, kept.failed) == (3, 1)
        assert (kept.input_tokens, kept.cached_tokens, kept.output_tokens, kept.reasoning_tokens) == (40, 32, 20, 12)
        assert await storage.files.get(ANN, batch.output_file) is None
        assert (await storage.files.page(ANN)).files == []

    async def test_a_batch_that_is_over_has_its_files(self, storage: Storage) -> None:
        await storage.batches.create(new_batch())
        batch = await claimed(storage)
        assert await storage.batches.update(msgspec.structs.replace(batch, status="in_progress", total=3, value=b"2"))
        assert await storage.batches.record(batch, [line(2), line(1), line(3, is_error=True)])
        assert await storage.batches.finish(msgspec.structs.replace(batch, status="completed", value=b"3"), DAY)
        kept = await storage.batches.get(ANN, "batch_1")
        assert kept == msgspec.structs.replace(
            batch,
            status="completed",
            value=b"3",
            total=3,
            completed=2,
            failed=1,
            process="",
            input_tokens=30,
            cached_tokens=24,
            output_tokens=15,
            reasoning_tokens=9,
        )
        assert await content(storage, ANN, batch.output_file) == b"1\n2\n"
        assert await content(storage, ANN, batch.error_file) == b"3\n"
        output = await storage.files.get(ANN, batch.output_file)
        assert output is not None
        assert (output.purpose, output.name, output.size) == ("batch_output", "batch_1_output.jsonl", 4)
        assert len((await storage.files.page(ANN, purpose="batch_output")).files) == 2
        assert await storage.batches.claim("p2") is None
        assert not await storage.batches.record(batch, [line(4)])
        ended = await storage.batches.request_cancel(ANN, "batch_1")
        assert ended == kept

    async def test_its_process_learns_that_a_batch_is_cancelled(self, storage: Storage) -> None:
        await storage.batches.create(new_batch())
        assert await storage.batches.request_cancel(BEN, "batch_1") is None
        await claimed(storage)
        asked = await storage.batches.request_cancel(ANN, "batch_1")
        assert asked is not None
        assert asked.cancelling_at > 1_700_000_000
        again = await storage.batches.request_cancel(ANN, "batch_1")
        assert again == asked
        assert await storage.batches.renew("p1") == [asked]

    async def test_an_owner_has_so_many_batches(self, make: Maker) -> None:
        async with make(Retention(batches=BatchBounds(max_open=2, max_batches=3))) as storage:
            for number in range(4):
                await storage.batches.create(new_batch(f"batch_{number}"))
                batch = await claimed(storage)
                await storage.batches.finish(msgspec.structs.replace(batch, status="failed"), DAY)
            kept = [batch.id for batch in (await storage.batches.page(ANN)).batches]
            assert kept == ["batch_3", "batch_2", "batch_1"]
            for number in (4, 5):
                await storage.batches.create(new_batch(f"batch_{number}"))
            with pytest.raises(TooManyRuns, match="not over"):
                await storage.batches.create(new_batch("batch_6"))
            await storage.batches.create(new_batch("batch_6", BEN))
