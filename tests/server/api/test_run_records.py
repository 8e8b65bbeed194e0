"""Background runs as other processes see them: leases, cancelling, the end of a process (M8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from chorus.errors import StorageUnavailable
from chorus.server.api.run_records import RunRecords
from chorus.storage.base import Storage
from chorus.storage.behind import WriteBehind
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY, LEASE_OVER

pytestmark = pytest.mark.requirement("M8")
PLACE = ("local", "resp_1")
QUEUED = {"id": "resp_1", "status": "queued", "background": True, "error": None}


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Storage, RunRecords, RunRecords]]:
    """A store, and two processes with it. A task group cannot be a fixture of pytest-asyncio."""
    writes = WriteBehind()
    async with memory_storage(msgspec.structs.replace(IN_MEMORY, lease_secs=0.3)) as storage, writes.open():
        yield storage, RunRecords(storage.runs, writes), RunRecords(storage.runs, writes)


async def test_a_run_whose_process_stops_renewing_has_failed() -> None:
    async with opened() as (_, mine, other):
        await mine.begin(PLACE, QUEUED)
        assert await other.response(PLACE) == {**QUEUED, "status": "in_progress"}
        assert await other.response(("another", "resp_1")) is None
        with anyio.fail_after(10):
            while (response := await other.response(PLACE)) is None or response["status"] == "in_progress":  # noqa: ASYNC110
                await anyio.sleep(0.01)  # time passes in the store as it does here
        assert response == {**QUEUED, "status": "failed", "error": {"code": "server_error", "message": LEASE_OVER}}
        assert await mine.renew(has_runs=True) == [(PLACE, True)]
        mine.end(PLACE, "completed")
        assert await other.response(PLACE) == response, "what has failed for others stays so"


async def test_who_cancels_waits_until_the_process_of_the_run_has_done_it() -> None:
    async with opened() as (_, mine, other):
        await mine.begin(PLACE, QUEUED)
        async with anyio.create_task_group() as group:
            group.start_soon(other.cancel, PLACE)
            with anyio.fail_after(10):
                while not (stop := await mine.renew(has_runs=True)):
                    await anyio.lowlevel.checkpoint()
            assert stop == [(PLACE, False)]
            mine.end(PLACE, "cancelled")
        assert await other.response(PLACE) is None, "it is with the stored responses"
        assert await other.delete(PLACE)
        assert not await other.delete(PLACE)


async def test_an_end_that_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (storage, mine, other):
        await mine.begin(PLACE, QUEUED)

        async def away(*args: object) -> bool:
            raise StorageUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(storage.runs, "finish", away)
            mine.end(PLACE, "completed")
            response = await other.response(PLACE)
            assert response is not None
            assert response["status"] == "in_progress"
        assert await mine.renew(has_runs=False) == []
        assert await other.response(PLACE) is None
