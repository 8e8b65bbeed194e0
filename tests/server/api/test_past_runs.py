"""Traces of all processes: what the store has, and what goes on without it (W9, M8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from chorus import config as configuration
from chorus.errors import NotFound, StorageUnavailable
from chorus.service import Chorus
from chorus.storage.records import Trace
from chorus.telemetry.trace_store import MAX_STORED_REQUESTS
from chorus.telemetry.trace_summary import TraceFilter
from chorus.types import ChatRequest, Message

pytestmark = pytest.mark.requirement("M8")

ASKED = ChatRequest("demo-abacus", (Message("user", "What is 2 + 2?"),))


def made(folder: Path, keep: int = 1000) -> Chorus:
    text = f'[[model]]\nname = "demo-abacus"\nprovider = "demo"\n[trace]\nkeep = {keep}\n'
    return Chorus(configuration.loads(f'{text}[storage]\nurl = "sqlite:///{folder}/chorus.db"\n', environ={}))


async def ask(chorus: Chorus, unique: str) -> str:
    async with chorus.run((ASKED,), request_id="req", unique=unique, streaming=False) as journal:
        await journal.ended()
    return f"wf_{unique}"


@asynccontextmanager
async def serving(folder: Path, keep: int = 1000) -> AsyncIterator[Chorus]:
    """A process with its store in `folder`."""
    chorus = made(folder, keep)
    async with chorus.serving():
        yield chorus
    await chorus.aclose()


async def written(chorus: Chorus) -> None:
    with anyio.fail_after(10):
        await chorus.past_runs.recent(1)  # takes in what has ended a moment ago
        await chorus.writes.settled(("traces", "", ""))


async def test_another_process_reads_lists_and_repeats_a_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as chorus, serving(tmp_path) as other:
        ids = [await ask(chorus, unique) for unique in ("one", "two")]
        assert [listed["workflow_id"] for listed in decoded(await chorus.past_runs.recent())] == ids[::-1]
        await written(chorus)
        for id in ids:
            [trace] = decoded([await other.past_runs.trace(id)])
            assert trace == decoded([await chorus.past_runs.trace(id)])[0]
            assert await other.past_runs.requests(id) == [ASKED]
        ids.append(await ask(other, "three"))
        await written(other)
        for each in (chorus, other):
            assert [listed["workflow_id"] for listed in decoded(await each.past_runs.recent())] == ids[::-1]
            assert len(await each.past_runs.recent(2)) == 2
            with pytest.raises(NotFound):
                await each.past_runs.trace("wf_never")


async def test_large_requests_stay_with_the_process_that_answered_them(tmp_path: Path) -> None:
    large = ChatRequest("demo-abacus", (Message("user", "What is 2 + 2?" + " " * MAX_STORED_REQUESTS),))
    async with serving(tmp_path) as chorus, serving(tmp_path) as other:
        async with chorus.run((large,), request_id="req", unique="large", streaming=False) as journal:
            await journal.ended()
        await written(chorus)
        assert await chorus.past_runs.requests("wf_large") == [large]
        [trace] = decoded([await other.past_runs.trace("wf_large")])
        assert trace["workflow_id"] == "wf_large"
        with pytest.raises(NotFound, match="larger than 1 MiB"):
            await other.past_runs.requests("wf_large")


async def test_a_filter_reaches_the_traces_of_other_processes_and_those_that_wait(tmp_path: Path) -> None:
    async with serving(tmp_path) as chorus, serving(tmp_path) as other:
        ids = [await ask(chorus, unique) for unique in ("aa", "ab", "b")]
        await written(chorus)
        ids.append(await ask(other, "ac"))
        for wanted, found in (
            (TraceFilter(id="wf_a"), ["wf_ac", "wf_ab", "wf_aa"]),
            (TraceFilter(status="ok", workflow="demo-abacus"), ids[::-1]),
            (TraceFilter(status="failed"), []),
            (TraceFilter(workflow="chorus"), []),
            (TraceFilter(min_duration_ms=3_600_000), []),
        ):
            listed = await other.past_runs.recent(wanted=wanted, in_short=True)
            assert [summary.workflow_id for summary in listed] == found
            whole = decoded(await other.past_runs.recent(wanted=wanted))
            assert [trace["workflow_id"] for trace in whole] == found
        assert len(await other.past_runs.recent(2, wanted=TraceFilter(id="wf_a"))) == 2


async def test_as_many_are_kept_as_the_configuration_says(tmp_path: Path) -> None:
    for keep, kept in ((2, ["wf_3", "wf_2"]), (0, [])):
        async with serving(tmp_path / str(keep), keep) as chorus:
            for number in range(4):
                await ask(chorus, str(number))
            await written(chorus)
            listed = decoded(await chorus.past_runs.recent())
        assert [trace["workflow_id"] for trace in listed] == kept


async def test_no_run_waits_for_the_store_and_one_that_is_away_costs_no_trace_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as chorus:
        may_go_on = anyio.Event()

        async def fail(traces: Sequence[Trace]) -> None:
            await may_go_on.wait()
            raise StorageUnavailable("away")

        async def recent(limit: int) -> list[tuple[str, bytes]]:
            raise StorageUnavailable("away")

        monkeypatch.setattr(chorus.storage.traces, "put", fail)
        monkeypatch.setattr(chorus.storage.traces, "recent", recent)
        with anyio.fail_after(10):
            ids = [await ask(chorus, str(number)) for number in range(300)]  # more than may wait
        may_go_on.set()
        await written(chorus)
        assert [trace["workflow_id"] for trace in await chorus.past_runs.recent()] == ids[:-51:-1]
        assert (await chorus.past_runs.trace(ids[0]))["workflow_id"] == ids[0]


async def test_what_waits_is_written_before_the_end(tmp_path: Path) -> None:
    chorus = made(tmp_path)
    async with chorus.serving():
        ids = [await ask(chorus, str(number)) for number in range(40)]
    async with chorus.storage as storage:
        assert len(await storage.traces.recent(100)) == len(ids)
    await chorus.aclose()


async def test_runs_under_load_share_their_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as chorus:
        put, sizes = chorus.storage.traces.put, list[int]()

        async def counted(traces: Sequence[Trace]) -> None:
            sizes.append(len(traces))
            await put(traces)

        monkeypatch.setattr(chorus.storage.traces, "put", counted)
        ids = [await ask(chorus, str(number)) for number in range(100)]
        await written(chorus)
        assert len(await chorus.storage.traces.recent(200)) == sum(sizes) == len(ids)
        assert len(sizes) <= 20


async def test_a_trace_is_found_that_another_process_is_about_to_write(tmp_path: Path) -> None:
    async with serving(tmp_path) as chorus, serving(tmp_path) as other:
        await ask(chorus, "first")  # written at once; the next one waits a moment
        await written(chorus)
        id = await ask(chorus, "second")
        with anyio.fail_after(5):
            [trace] = decoded([await other.past_runs.trace(id)])
        assert trace["workflow_id"] == id


@pytest.mark.parametrize("text", [b'{"workflow_id": "wf_old"}', b'[{"type":"Unheard"}]', b"[]x", b"\xff"])
async def test_a_trace_of_another_version_is_not_found_and_not_listed(tmp_path: Path, text: bytes) -> None:
    async with serving(tmp_path) as chorus:
        await chorus.storage.traces.put([Trace("local", "wf_old", text, b"[]")])
        id = await ask(chorus, "new")
        with pytest.raises(NotFound, match="another version"):
            await chorus.past_runs.trace("wf_old")
        for in_short in (True, False):
            assert len(await chorus.past_runs.recent(in_short=in_short)) == 1
        assert (await chorus.past_runs.trace(id))["workflow_id"] == id


def decoded(values: list[Any]) -> list[dict[str, Any]]:
    """JSON values as a client reads them."""
    read: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(values))
    return read
