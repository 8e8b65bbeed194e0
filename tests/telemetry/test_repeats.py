"""Warnings that come with every request are one line of the log an hour."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from chorus.telemetry import repeats
from chorus.telemetry.repeats import REPEAT_SECS, Repeats
from tests.kit import Say, ScriptedUpstream, ServerProcess

CONFIG = """
[[model]]
name = "glm"
api_base = "{base}"
retries = 0
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item."""
    now = [1000.0]
    monkeypatch.setattr(repeats.anyio, "current_time", lambda: now[0])
    return now


def test_a_line_is_news_once_an_hour_for_each_source(clock: list[float]) -> None:
    repeats = Repeats()
    assert repeats.is_news("claude", "`context_management` is left out.")
    assert not repeats.is_news("claude", "`context_management` is left out.")
    assert repeats.is_news("codex", "`context_management` is left out.")
    assert repeats.is_news("claude", "`betas` is left out.")
    clock[0] += REPEAT_SECS
    assert repeats.is_news("claude", "`context_management` is left out.")


def test_numbers_do_not_make_a_line_new(clock: list[float]) -> None:
    repeats = Repeats()
    assert repeats.is_news("c", "`messages[3].content[0]` is left out.")
    assert not repeats.is_news("c", "`messages[15].content[1]` is left out.")


def test_what_is_remembered_is_bounded(clock: list[float]) -> None:
    repeats = Repeats()
    for number in range(5000):
        repeats.is_news("client", chr(number))
    assert repeats.is_news("client", chr(0))  # forgotten
    assert not repeats.is_news("client", chr(4999))


@pytest.mark.slow
async def test_the_log_has_a_field_once_and_the_header_each_time(scripted_once: ScriptedUpstream) -> None:
    with ServerProcess(CONFIG.format(base=scripted_once.api_base), env={"CHORUS_LOG": "warning"}) as server:
        async with httpx.AsyncClient(base_url=server.base, timeout=10, verify=False) as client:
            body = {"model": "glm", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            body["context_management"] = {"edits": []}
            headers = [(await client.post("/v1/messages", json=body)).headers for _ in range(3)]
    assert all("context_management" in each["x-chorus-warning"] for each in headers)
    assert server.log.count("context_management") == 1


@pytest.fixture
async def scripted_once() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream.on("glm", Say("one two"))
