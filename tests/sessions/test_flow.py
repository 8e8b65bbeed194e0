"""The flow of a request with a user: the steps before the model, and a store that is away (M4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from chorus import config as configuration
from chorus.auth.principal import LOCAL
from chorus.cancellation import CancelSignal
from chorus.errors import StorageUnavailable
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.sessions.flow import recall_warning
from chorus.storage.records import merging
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest, Message

pytestmark = pytest.mark.requirement("M4")
CONFIG = '[[model]]\nname = "m"\nprovider = "demo"\nmodel = "demo-generalist"\n'
REQUEST = ChatRequest("m", (Message("user", "Hello"),))


@asynccontextmanager
async def serving(more: str = "") -> AsyncIterator[Chorus]:
    """A server's inside, with a note on `ann`."""
    chorus = Chorus(configuration.loads(CONFIG + more, environ={}))
    async with chorus.serving():
        await chorus.storage.profiles.update(LOCAL, "ann", merging({"language": "Chinese"}))
        yield chorus
    await chorus.aclose()


async def trace_of(chorus: Chorus, user: str | None, *, times: int = 1, streaming: bool = False) -> dict[str, Any]:
    """Ask, and return the trace with the warning for the client."""
    run = chorus.run([REQUEST] * times, request_id="r", unique="u", streaming=streaming, recall_user=user)
    async with run as journal:
        await journal.ended()
        assert isinstance(journal.events[-1], RunFinished)
        return {**workflow_details(journal.events), "warning": recall_warning(journal.events)}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("times", [1, 2])
async def test_the_notes_are_recalled_before_the_model_is_asked(times: int, streaming: bool) -> None:
    async with serving() as chorus:
        trace = await trace_of(chorus, "ann", times=times, streaming=streaming)
    recall, workers = trace["recall"], trace["workers"]
    assert (recall["status"], recall["notes"], trace["status"], trace["warning"]) == ("ok", 1, "ok", None)
    assert len(workers) == times
    assert all(recall["started_ms"] + recall["duration_ms"] <= worker["started_ms"] + 0.01 for worker in workers)


async def test_without_a_user_there_is_no_stage() -> None:
    async with serving() as chorus:
        assert "recall" not in await trace_of(chorus, None)


async def test_an_unknown_user_has_no_notes() -> None:
    async with serving() as chorus:
        trace = await trace_of(chorus, "ben")
    assert (trace["recall"]["status"], trace["recall"]["notes"], trace["warning"]) == ("ok", 0, None)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_that_is_away_takes_nothing_but_the_notes(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    async def get(owner: str, user: str) -> None:
        if hangs:
            await anyio.sleep_forever()
        raise StorageUnavailable("The store is away.")

    async with serving("[memory]\nrecall_timeout_secs = 0.01\n") as chorus:
        monkeypatch.setattr(chorus.storage.profiles, "get", get)
        trace = await trace_of(chorus, "ann")
    assert (trace["recall"]["status"], trace["status"]) == ("failed", "degraded")
    assert [(error["stage"], error["code"]) for error in trace["errors"]] == [("recall", "storage_unavailable")]
    assert "notes" in trace["warning"]
    counted = 'chorus_stage_duration_seconds_count{stage="recall",status="failed"} 1.0'
    assert counted in chorus.metrics.page().decode()


async def test_a_client_that_leaves_during_recall_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = CancelSignal()

    async def get(owner: str, user: str) -> None:
        gone.set()
        await anyio.sleep_forever()

    async with serving() as chorus:
        monkeypatch.setattr(chorus.storage.profiles, "get", get)
        run = chorus.run([REQUEST], request_id="r", unique="u", streaming=False, recall_user="ann", cancel_signal=gone)
        async with run as journal:
            over = journal.events[-1]
        assert isinstance(over, RunFailed)
        assert over.status == "cancelled"
        assert workflow_details(journal.events)["recall"]["status"] == "cancelled"
