"""The contract of responses, runs, traces, profiles and usage, for every store."""

from __future__ import annotations

import datetime

import anyio
import pytest

from chorus.errors import InvalidRequest
from chorus.storage.base import Storage
from chorus.storage.records import LEASE_OVER, Bounds, Notes, Retention, Run, Trace, UsageRow, merging
from tests.storage.conftest import Maker, gone

pytestmark = pytest.mark.requirement("M2")
ANN, BEN = "1a2b3c4d", "5e6f7a8b"
TODAY = datetime.datetime.now(datetime.UTC).date().isoformat()


class TestResponses:
    async def test_what_is_put_is_got_until_it_is_deleted(self, storage: Storage) -> None:
        assert await storage.responses.get(ANN, "resp_1") is None
        await storage.responses.put(ANN, "resp_1", '{"a":"好"}'.encode())
        assert await storage.responses.get(ANN, "resp_1") == '{"a":"好"}'.encode()
        await storage.responses.put(ANN, "resp_1", b"7")
        assert await storage.responses.get(ANN, "resp_1") == b"7"
        assert await storage.responses.delete(ANN, "resp_1")
        assert not await storage.responses.delete(ANN, "resp_1")
        assert await storage.responses.get(ANN, "resp_1") is None

    async def test_what_one_owner_keeps_does_not_exist_for_another(self, storage: Storage) -> None:
        await storage.responses.put(ANN, "resp_1", b"1")
        assert await storage.responses.get(BEN, "resp_1") is None
        assert not await storage.responses.delete(BEN, "resp_1")
        await storage.responses.put(BEN, "resp_1", b"2")
        assert await storage.responses.delete(BEN, "resp_1")
        assert await storage.responses.get(ANN, "resp_1") == b"1"

    async def test_no_id_reaches_another_owners_record(self, storage: Storage) -> None:
        await storage.responses.put("a", "b:c", b"1")
        assert await storage.responses.get("a:b", "c") is None

    @pytest.mark.parametrize("text", ["", "好", "a b\n", "a\x00b", "%3A", "' OR 1=1 --", "x" * 3000])
    async def test_any_text_is_an_owner_and_an_id(self, storage: Storage, text: str) -> None:
        await storage.responses.put(text, text, b"1")
        await storage.responses.put(text, text + "-", b"2")
        assert await storage.responses.get(text, text) == b"1"

    async def test_a_value_of_megabytes_is_kept(self, storage: Storage) -> None:
        value = bytes(range(256)) * 4 * 4096
        await storage.responses.put(ANN, "resp_1", value)
        assert await storage.responses.get(ANN, "resp_1") == value

    async def test_a_response_is_forgotten_when_it_is_too_old(self, make: Maker) -> None:
        async with make(Retention(responses=Bounds(max_age_secs=0.05))) as storage:
            await storage.responses.put(ANN, "resp_1", b"1")
            await gone(lambda: storage.responses.get(ANN, "resp_1"))
            assert not await storage.responses.delete(ANN, "resp_1")

    @pytest.mark.parametrize("make", ["memory", "sqlite"], indirect=True)
    async def test_the_oldest_make_room(self, make: Maker) -> None:
        async with make(Retention(responses=Bounds(max_records=3, max_bytes=2000))) as storage:
            for number in range(5):
                await storage.responses.put(ANN, str(number), b"1")
            kept = [await storage.responses.get(ANN, str(number)) for number in range(5)]
            assert kept == [None, None, b"1", b"1", b"1"]
            await storage.responses.put(ANN, "large", b"x" * 1500)
            assert await storage.responses.get(ANN, "4") is not None
            assert await storage.responses.get(ANN, "3") is None
            with pytest.raises(InvalidRequest, match="too large"):
                await storage.responses.put(ANN, "too large", b"x" * 2000)
            assert await storage.responses.get(ANN, "large") is not None


class TestRuns:
    async def test_a_run_belongs_to_its_process_until_it_ends(self, storage: Storage) -> None:
        await storage.runs.start(ANN, "resp_1", "p1", b'{"status":"queued"}')
        running = Run(ANN, "resp_1", "p1", "in_progress", b'{"status":"queued"}')
        assert await storage.runs.get(ANN, "resp_1") == running
        assert await storage.runs.renew("p1") == set()
        assert not await storage.runs.finish(ANN, "resp_1", "p2", "completed")
        assert not await storage.runs.finish(BEN, "resp_1", "p1", "completed")
        assert await storage.runs.finish(ANN, "resp_1", "p1", "completed")
        assert not await storage.runs.finish(ANN, "resp_1", "p1", "failed")
        ended = await storage.runs.get(ANN, "resp_1")
        assert ended is not None
        assert ended.status == "completed"

    async def test_another_owners_run_does_not_exist(self, storage: Storage) -> None:
        await storage.runs.start(ANN, "resp_1", "p1", b"")
        assert await storage.runs.get(BEN, "resp_1") is None
        assert await storage.runs.request_cancel(BEN, "resp_1") is None
        assert not await storage.runs.delete(BEN, "resp_1")
        assert await storage.runs.renew("p1") == set()

    async def test_its_process_learns_that_a_run_is_to_be_cancelled(self, storage: Storage) -> None:
        await storage.runs.start(ANN, "resp_1", "p1", b"")
        await storage.runs.start(ANN, "resp_2", "p1", b"")
        await storage.runs.start(ANN, "resp_3", "p2", b"")
        asked = await storage.runs.request_cancel(ANN, "resp_1")
        assert asked is not None
        assert asked.is_cancel_requested
        assert await storage.runs.renew("p2") == set()
        assert await storage.runs.renew("p1") == {(ANN, "resp_1")}
        assert await storage.runs.finish(ANN, "resp_1", "p1", "cancelled")
        assert await storage.runs.renew("p1") == set()
        ended = await storage.runs.request_cancel(ANN, "resp_1")
        assert ended is not None
        assert ended.status == "cancelled"

    async def test_a_run_whose_lease_is_over_has_failed_and_stays_so(self, make: Maker) -> None:
        async with make(Retention(lease_secs=0.1)) as storage:
            await storage.runs.start(ANN, "resp_1", "p1", b"")
            run = await storage.runs.get(ANN, "resp_1")
            with anyio.fail_after(10):
                while run is not None and run.status == "in_progress":
                    await anyio.sleep(0.01)
                    run = await storage.runs.get(ANN, "resp_1")
            assert run is not None
            assert (run.status, run.reason) == ("failed", LEASE_OVER)
            assert not await storage.runs.finish(ANN, "resp_1", "p1", "completed")
            assert await storage.runs.renew("p1") == {(ANN, "resp_1")}, "the process is to stop it"
            assert await storage.runs.renew("p1") == set()
            assert await storage.runs.get(ANN, "resp_1") == run

    @pytest.mark.slow
    async def test_a_lease_that_is_renewed_goes_on(self, make: Maker) -> None:
        async with make(Retention(lease_secs=1.0)) as storage:
            await storage.runs.start(ANN, "resp_1", "p1", b"")
            with anyio.move_on_after(1.3):
                while True:
                    await anyio.sleep(0.1)
                    assert await storage.runs.renew("p1") == set()
            assert await storage.runs.finish(ANN, "resp_1", "p1", "completed")

    async def test_a_run_can_be_deleted(self, storage: Storage) -> None:
        await storage.runs.start(ANN, "resp_1", "p1", b"")
        assert await storage.runs.delete(ANN, "resp_1")
        assert not await storage.runs.delete(ANN, "resp_1")
        assert await storage.runs.get(ANN, "resp_1") is None
        assert await storage.runs.renew("p1") == set()


class TestTraces:
    async def test_the_newest_are_first_and_each_is_whole(self, storage: Storage) -> None:
        traces = [Trace(owner, f"run_{n}", b"%d" % n, b"asked") for n, owner in enumerate([ANN, BEN, ANN, ANN])]
        await storage.traces.put(traces[:1])
        await storage.traces.put(traces[1:])
        assert await storage.traces.get(ANN, "run_2") == traces[2]
        assert await storage.traces.get(None, "run_1") == traces[1]
        assert await storage.traces.get(ANN, "run_1") is None
        assert await storage.traces.get(None, "run_9") is None
        assert await storage.traces.recent(2) == [("run_3", b"3"), ("run_2", b"2")]
        assert await recent(storage) == [b"3", b"2", b"1", b"0"]

    async def test_a_trace_that_is_put_again_is_the_newest(self, storage: Storage) -> None:
        await storage.traces.put([Trace(ANN, "run_1", b"1", b""), Trace(ANN, "run_2", b"2", b"")])
        await storage.traces.put([Trace(ANN, "run_1", b"3", b"")])
        assert await recent(storage) == [b"3", b"2"]

    async def test_they_are_bounded_in_number_and_bytes(self, make: Maker) -> None:
        async with make(Retention(traces=Bounds(max_records=3, max_bytes=10_000))) as storage:
            for number in range(5):
                await storage.traces.put([Trace(ANN, str(number), b"%d" % number, b"")])
            assert await recent(storage) == [b"4", b"3", b"2"]
            assert await storage.traces.get(ANN, "1") is None
            await storage.traces.put([Trace(ANN, str(number), b"%d" % number, b"x" * 4500) for number in range(5, 20)])
            assert await recent(storage) == [b"19", b"18"]
            await storage.traces.put([Trace(ANN, str(number), b"%d" % number, b"") for number in range(20, 30)])
            assert await recent(storage) == [b"29", b"28", b"27"]

    async def test_one_that_is_too_large_is_refused_and_the_others_are_kept(self, make: Maker) -> None:
        async with make(Retention(traces=Bounds(max_records=3, max_bytes=10_000))) as storage:
            traces = [Trace(ANN, "1", b"1", b""), Trace(ANN, "2", b"2", b"x" * 10_000), Trace(ANN, "3", b"3", b"")]
            with pytest.raises(InvalidRequest, match="too large"):
                await storage.traces.put(traces)
            assert await recent(storage) == [b"3", b"1"]

    async def test_they_are_bounded_in_age(self, make: Maker) -> None:
        async with make(Retention(traces=Bounds(max_age_secs=0.05, max_bytes=1000))) as storage:
            await storage.traces.put([Trace(ANN, "1", b"1", b"")])
            await gone(lambda: recent(storage))
            assert await storage.traces.get(ANN, "1") is None
            await storage.traces.put([Trace(ANN, "2", b"2", b"")])


async def recent(storage: Storage) -> list[bytes]:
    """The events of the newest traces."""
    return [events for _, events in await storage.traces.recent(10)]


class TestProfiles:
    async def test_notes_are_merged_and_removed(self, storage: Storage) -> None:
        assert await storage.profiles.get(ANN, "eva") is None
        made = await storage.profiles.update(ANN, "eva", merging({"language": "中文", "tone": "short"}))
        assert made.notes == {"language": "中文", "tone": "short"}
        assert made.updated_at > 1_700_000_000
        changed = await storage.profiles.update(ANN, "eva", merging({"tone": None, "units": "metric"}))
        assert changed.notes == {"language": "中文", "units": "metric"}
        assert await storage.profiles.get(ANN, "eva") == changed
        assert await storage.profiles.delete(ANN, "eva")
        assert not await storage.profiles.delete(ANN, "eva")
        assert await storage.profiles.get(ANN, "eva") is None

    async def test_the_same_name_under_another_owner_is_another_user(self, storage: Storage) -> None:
        await storage.profiles.update(ANN, "eva", merging({"a": "1"}))
        assert await storage.profiles.get(BEN, "eva") is None
        await storage.profiles.update(BEN, "eva", merging({"b": "2"}))
        assert await storage.profiles.delete(BEN, "eva")
        kept = await storage.profiles.get(ANN, "eva")
        assert kept is not None
        assert kept.notes == {"a": "1"}

    async def test_a_change_that_the_caller_refuses_changes_nothing(self, storage: Storage) -> None:
        before = await storage.profiles.update(ANN, "eva", merging({"a": "1"}))

        def refused(_: Notes) -> Notes:
            raise InvalidRequest("too many notes")

        with pytest.raises(InvalidRequest, match="too many notes"):
            await storage.profiles.update(ANN, "eva", refused)
        assert await storage.profiles.get(ANN, "eva") == before

    async def test_changes_that_happen_at_once_are_all_kept(self, storage: Storage) -> None:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(storage.profiles.update, ANN, "eva", merging({str(number): "x"}))
        kept = await storage.profiles.get(ANN, "eva")
        assert kept is not None
        assert set(kept.notes) == {"0", "1", "2", "3", "4"}


class TestUsage:
    async def test_counts_are_added_up_by_any_column(self, storage: Storage) -> None:
        rows = [
            UsageRow(ANN, "eva", "m1", "2026-11-24", 1, 3, 10, 5, 0.1),
            UsageRow(ANN, "eva", "m1", "2026-11-24", 1, 1, 10, 5, 0.2),
            UsageRow(ANN, "eva", "m2", "2026-11-25", 1, 1, 7, 3, 0.0),
            UsageRow(BEN, "eva", "m1", "2026-11-26", 1, 2, 100, 50, 1e-8),
        ]
        await storage.usage.add(*rows[:2])
        await storage.usage.add(*rows[2:])
        query = storage.usage.query
        assert await query(None) == [
            UsageRow(requests=4, calls=7, prompt_tokens=127, completion_tokens=63, cost=0.30000001)
        ]
        assert await query(ANN, group_by=["key"]) == [UsageRow(ANN, None, None, None, 3, 5, 27, 13, 0.3)]
        assert await query(None, group_by=["day", "model"]) == [
            UsageRow(None, None, "m1", "2026-11-24", 2, 4, 20, 10, 0.3),
            UsageRow(None, None, "m1", "2026-11-26", 1, 2, 100, 50, 1e-8),
            UsageRow(None, None, "m2", "2026-11-25", 1, 1, 7, 3, 0.0),
        ]
        assert await query(None, group_by=["key", "user", "model", "day"]) == [
            UsageRow(ANN, "eva", "m1", "2026-11-24", 2, 4, 20, 10, 0.3),
            *rows[2:],
        ]
        assert await query("5e", group_by=["key"]) == []

    async def test_a_time_range_includes_both_of_its_days(self, storage: Storage) -> None:
        for day in ("2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"):
            await storage.usage.add(UsageRow(ANN, "", "m", day, 1))
        assert [row.requests for row in await storage.usage.query(ANN, start="2026-11-24", end="2026-11-25")] == [2]
        assert [row.requests for row in await storage.usage.query(ANN, start="2026-11-24")] == [3]
        assert [row.requests for row in await storage.usage.query(ANN, end="2026-11-23")] == [1]
        assert await storage.usage.query(ANN, start="2026-11-27") == []

    async def test_an_answer_has_no_more_rows_than_are_wanted(self, storage: Storage) -> None:
        await storage.usage.add(*(UsageRow(ANN, "", f"m{number}", TODAY, 1) for number in range(5)))
        assert len(await storage.usage.query(ANN, group_by=["model"], limit=3)) == 3
        assert len(await storage.usage.query(ANN, group_by=["model"], limit=9)) == 5

    async def test_many_additions_at_once_are_all_counted(self, storage: Storage) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(storage.usage.add, UsageRow(ANN, "eva", "m", TODAY, 1, 1, 1, 1, 0.1))
        assert await storage.usage.query(ANN) == [UsageRow(None, None, None, None, 100, 100, 100, 100, 10.0)]

    async def test_old_counts_are_forgotten(self, make: Maker) -> None:
        async with make(Retention(usage=Bounds(max_age_secs=0.05))) as storage:
            await storage.usage.add(UsageRow(ANN, "", "m", TODAY, 1))
            await gone(lambda: storage.usage.query(ANN))
            await storage.usage.add(UsageRow(ANN, "", "m", TODAY, 1))


class TestAffinities:
    async def test_a_session_of_an_owner_stays_with_a_replica_of_each_model(self, storage: Storage) -> None:
        affinities = storage.affinities
        await affinities.put(ANN, "s", "m1", "http://a#0")
        await affinities.put(ANN, "s", "m2", "http://b#0")
        await affinities.put(ANN, "s", "m1", "http://c#0")
        assert await affinities.get(ANN, "s", "m1") == "http://c#0"
        assert await affinities.get(ANN, "s", "m2") == "http://b#0"
        for owner, session, model in ((BEN, "s", "m1"), (ANN, "t", "m1"), (ANN, "s", "m3")):
            assert await affinities.get(owner, session, model) is None

    async def test_it_is_forgotten_a_while_after_its_last_change(self, make: Maker) -> None:
        async with make(Retention(affinities=Bounds(max_age_secs=0.05))) as storage:
            await storage.affinities.put(ANN, "s", "m", "r")
            await gone(lambda: storage.affinities.get(ANN, "s", "m"))
