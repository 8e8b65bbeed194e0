"""Background runs from the inside: their bounds, and their end with the server (A3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest

from chorus import config as configuration
from chorus.auth.principal import Principal
from chorus.errors import TooManyRuns
from chorus.events import RunFinished
from chorus.journal import Journal
from chorus.server.api import background
from chorus.server.api.background import BackgroundRuns
from chorus.server.dialects import OpenAIResponses
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.service import Chorus
from tests.kit import Gate, Hang, Say, ScriptedUpstream

pytestmark = pytest.mark.requirement("A3")
ASKED = OpenAIResponses().parse({"model": "glm", "input": "How?", "background": True})


@pytest.fixture
async def chorus(scripted: ScriptedUpstream) -> AsyncIterator[Chorus]:
    text = f'[[model]]\nname = "glm"\napi_base = "{scripted.base}/v1"\n'
    chorus = Chorus(configuration.loads(text, environ={}))
    yield chorus
    await chorus.aclose()


def context(number: int, journal: Journal) -> ResponseContext:
    return ResponseContext(f"resp_{number:024x}", "req_1", 0.0, ASKED, "openai")


async def start(runs: BackgroundRuns, number: int, asked: ParsedRequest = ASKED) -> background.BackgroundRun:
    return await runs.start(
        asked, partial(context, number), Principal("/v1/responses"), unique=f"{number:024x}", request_id="req_1"
    )


async def test_as_many_as_there_may_be(
    chorus: Chorus, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MAX_LIVE", 2)
    scripted.on("glm", Hang("headers"))
    runs = BackgroundRuns(chorus)
    async with runs.open():
        first = await start(runs, 1)
        await start(runs, 2)
        with pytest.raises(TooManyRuns):
            await start(runs, 3)
        await first.cancel()
        last = await start(runs, 3)
    assert last.journal.closed
    await scripted.wait_idle()


async def test_the_oldest_that_have_ended_are_forgotten_when_another_begins(
    chorus: Chorus, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_KEEP_ENDED", 2)
    scripted.on("glm", Say("one"))
    runs = BackgroundRuns(chorus)
    async with runs.open():
        for number in range(5):
            await (await start(runs, number)).journal.ended()
    kept = [number for number in range(5) if runs.get("local", f"resp_{number:024x}") is not None]
    assert kept == [2, 3, 4]


async def test_one_that_breaks_down_ends_no_other(
    chorus: Chorus, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.on("glm", Say("well", gate=(gate := Gate())))

    async def fail(journal: Journal) -> None:
        raise RuntimeError("a bug")

    runs = BackgroundRuns(chorus)
    async with runs.open():
        sound = await start(runs, 1)
        with monkeypatch.context() as broken:
            broken.setattr(Journal, "ended", fail)
            await start(runs, 2)
        gate.open()
        await sound.journal.ended()
    assert isinstance(sound.journal.events[-1], RunFinished)
