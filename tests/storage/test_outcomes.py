"""The contract of outcomes, for every store: counts are added, and what is said anew replaces what
was said.
"""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import msgspec
import pytest

from chorus.storage import migrations
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import VERDICT, Bounds, Credit, Outcome, Retention
from tests.storage.conftest import Maker, gone

pytestmark = pytest.mark.requirement("M2")
ANN, BEN = "1a2b3c4d", "5e6f7a8b"
FLOW, OTHER = "chorus/a", "chorus/b"
NOW = int(time.time())
LIKED = Credit("code", "glm", NOW, feedback=1.0, liked=1.0)
DISLIKED = Credit("code", "glm", NOW, feedback=1.0)


def outcome(run: str = "wf_1", source: str = ANN, *credits: Credit, at: float = NOW, **more: object) -> Outcome:
    return msgspec.convert(
        {"run": run, "source": source, "workflow": FLOW, "at": at, "credits": credits, **more}, Outcome
    )


async def test_credits_are_added_up_by_task_type_worker_and_bucket(storage: Storage) -> None:
    outcomes = storage.outcomes
    assert await outcomes.query(FLOW, 0) == []
    third = Credit("code", "kimi", NOW, feedback=1 / 3, liked=0.25, verdicts=2.0, won=0.5, answers=1.0, tokens=700.0)
    await outcomes.put(outcome("wf_1", ANN, LIKED, third))
    await outcomes.put(outcome("wf_2", ANN, DISLIKED, third))
    await outcomes.put(
        outcome("wf_3", VERDICT, Credit("code", "glm", NOW - 9, verdicts=1.0), Credit("写作", "a:b", NOW))
    )
    glm = Credit("code", "glm", NOW, feedback=2.0, liked=1.0)
    kimi = Credit("code", "kimi", NOW, 0.666666, 0.5, 4.0, 1.0, 2.0, 1400.0)
    found = await outcomes.query(FLOW, NOW)
    assert [credit for credit in found if credit.task_type == "code"] == [glm, kimi]
    assert {credit.bucket for credit in await outcomes.query(FLOW, 0)} == {NOW, NOW - 9}
    assert await outcomes.query(OTHER, 0) == []


async def test_the_newest_word_of_a_source_on_a_run_holds(storage: Storage) -> None:
    outcomes = storage.outcomes
    await outcomes.put(outcome("wf_1", ANN, LIKED, at=NOW + 1.0, score=1.0, comment="好"))
    await outcomes.put(outcome("wf_1", ANN, DISLIKED, at=NOW + 2.0, score=0.0, comment="bad"))
    late = outcome("wf_1", ANN, LIKED, at=NOW + 1.5, score=1.0)
    await outcomes.put(late)
    assert await outcomes.query(FLOW, 0) == [DISLIKED]
    [kept] = await outcomes.get("wf_1")
    assert (kept.source, kept.score, kept.comment) == (ANN, 0.0, "bad")
    await outcomes.put(outcome("wf_1", BEN, LIKED, at=NOW + 3.0, score=1.0))
    await outcomes.put(outcome("wf_1", VERDICT, Credit("code", "glm", NOW, verdicts=1.0), at=NOW + 3.5))
    assert await outcomes.query(FLOW, 0) == [Credit("code", "glm", NOW, feedback=2.0, liked=1.0, verdicts=1.0)]
    assert [one.source for one in await outcomes.get("wf_1")] == [ANN, BEN, VERDICT]
    assert await outcomes.get("wf_2") == []


async def test_a_write_that_is_repeated_counts_once(storage: Storage) -> None:
    for _ in range(3):
        await storage.outcomes.put(outcome("wf_1", ANN, LIKED, at=NOW + 0.25))
    assert await storage.outcomes.query(FLOW, 0) == [LIKED]


async def test_what_is_forgotten_is_not_taken_away_once_more(storage: Storage) -> None:
    outcomes = storage.outcomes
    await outcomes.put(outcome("wf_1", ANN, LIKED, score=1.0))
    await outcomes.put(outcome("wf_2", ANN, LIKED, workflow=OTHER))
    await outcomes.reset(FLOW)
    assert await outcomes.query(FLOW, 0) == []
    assert await outcomes.query(OTHER, 0) == [LIKED]
    assert [one.score for one in await outcomes.get("wf_1")] == [1.0]
    await outcomes.put(outcome("wf_3", ANN, LIKED))
    await outcomes.put(outcome("wf_1", ANN, DISLIKED, at=NOW + 1.0))  # its first word is forgotten
    assert await outcomes.query(FLOW, 0) == [Credit("code", "glm", NOW, feedback=2.0, liked=1.0)]
    await outcomes.reset(None)
    assert [*await outcomes.query(FLOW, 0), *await outcomes.query(OTHER, 0)] == []


async def test_counts_that_are_added_at_once_all_count(make: Maker) -> None:
    async with make(Retention()) as one, anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one.outcomes.put, outcome(f"wf_{number}", ANN, LIKED))
        with anyio.fail_after(30):
            while await one.outcomes.query(FLOW, 0) != [Credit("code", "glm", NOW, feedback=40.0, liked=40.0)]:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_an_outcome_is_forgotten_with_its_trace_and_its_counts_stay(make: Maker) -> None:
    async with make(Retention(outcomes=Bounds(max_age_secs=0.05))) as storage:
        await storage.outcomes.put(outcome("wf_1", ANN, LIKED, at=time.time()))
        await gone(lambda: storage.outcomes.get("wf_1"))
        assert await storage.outcomes.query(FLOW, 0) == [LIKED]


async def test_counts_of_long_ago_are_forgotten(make: Maker) -> None:
    async with make(Retention(tallies=Bounds(max_age_secs=100_000.0))) as storage:
        await storage.outcomes.put(outcome("wf_1", ANN, LIKED, Credit("code", "glm", NOW - 1_000_000, feedback=1.0)))
        assert await storage.outcomes.query(FLOW, 0) == [LIKED]


async def test_a_file_of_before_learning_gets_outcomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/store/chorus.db"
    with monkeypatch.context() as patch:
        patch.setattr(migrations.migrate, "__defaults__", (migrations.STEPS[:4],))
        async with open_storage(url) as storage:
            await storage.responses.put(ANN, "resp_1", b"1")
    async with open_storage(url) as storage:
        await storage.outcomes.put(outcome("wf_1", ANN, LIKED))
        assert await storage.outcomes.query(FLOW, 0) == [LIKED]
        assert await storage.responses.get(ANN, "resp_1") == b"1"
