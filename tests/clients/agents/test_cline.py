"""cline as it comes from npm writes a file through a single model and a workflow, with two of its
providers.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients import environments

from .task import CONTENT, FILE, FULL, PROMPT, SENTENCE, THOUGHTS, WORKERS, Desk, Writer, unsent

PROVIDERS = ("openai-native", "openai-compatible")
PATCH = f"*** Begin Patch\n*** Add File: {FILE}\n+{CONTENT}\n*** End Patch\n"
pytestmark = [pytest.mark.agents, pytest.mark.requirement("A3"), pytest.mark.requirement("W10")]


@pytest.fixture
def cline() -> str:
    command = environments.npm("cline")
    if command is None:
        pytest.skip("Node is not on this machine: cline was not tried")
    return command


def sends_thoughts(desk: Desk, provider: str) -> bool:
    """Whether cline sends reasoning back.

    With `openai-native` it loses the ids of reasoning items and so drops them; in chat it has a
    text only, and no signature.
    """
    return provider == "openai-compatible" and desk.upstream.kind == "chat"


def writer(desk: Desk, provider: str, usage: tuple[int, int] = (11, 7)) -> Writer:
    tool: tuple[str, dict[str, Any]] = ("apply_patch", {"input": PATCH})
    if provider == "openai-compatible":
        tool = ("editor", {"path": str(desk.work / FILE), "new_text": CONTENT})
    return Writer(*tool, usage, demands_thoughts=sends_thoughts(desk, provider))


def run(cline: str, desk: Desk, provider: str, model: str) -> str:
    """Return what cline prints while it does the task."""
    settings = desk.home / ".cline" / "data" / "settings"
    settings.mkdir(parents=True)
    chosen = {"provider": provider, "apiKey": "key", "model": model, "baseUrl": f"{desk.base}/v1"}
    entry = {"settings": chosen, "updatedAt": "2026-11-25T12:00:00.000Z", "tokenSource": "manual"}
    providers = {"version": 1, "lastUsedProvider": provider, "modes": {}, "providers": {provider: entry}}
    (settings / "providers.json").write_text(json.dumps(providers), encoding="utf-8")
    local = {"CLINE_SESSION_BACKEND_MODE": "local"}  # else a daemon of its own stays behind
    return desk.run([cline, "--provider", provider, "--model", model, PROMPT], local)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cline_writes_a_file_through_a_model(cline: str, desk: Desk, provider: str) -> None:
    desk.prepare(writer(desk, provider))
    assert SENTENCE in run(cline, desk, provider, "glm")
    assert desk.written() == CONTENT
    is_kept = sends_thoughts(desk, provider)
    assert desk.losses("glm", *unsent(is_kept)) == []
    assert desk.received("glm")[-1].thoughts == (THOUGHTS if is_kept else "",)


@pytest.mark.parametrize("upstream", ["chat"], indirect=True)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_cline_writes_a_file_through_a_workflow(cline: str, desk: Desk, provider: str) -> None:
    """Two turns do the task. cline compacts by its own estimate, and trusts the reported usage only
    up to four times that.
    """
    desk.prepare(writer(desk, provider, FULL))
    assert SENTENCE in run(cline, desk, provider, "chorus")
    assert desk.written() == CONTENT
    assert len(desk.proxy.sent) == 2
    for worker in WORKERS:
        assert desk.losses(worker) == []
