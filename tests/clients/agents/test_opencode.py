"""opencode as it comes from npm writes a file through a single model and a workflow, with each of
its providers.

One server of opencode does all tasks in one project: starting it costs 5 s of a core, a task less
than 1 s.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients import environments
from tests.kit import ScriptedUpstream, ServerProcess

from .recording import RecordingProxy
from .task import CONTENT, FILE, FULL, PROMPT, SECONDS, SENTENCE, THOUGHTS, WORKERS, Desk, Writer, end, started, unsent
from .upstreams import AgentUpstream, ChatUpstream

PROVIDERS = {"chat": "@ai-sdk/openai-compatible", "responses": "@ai-sdk/openai", "messages": "@ai-sdk/anthropic"}
MODEL = {"limit": {"context": 128_000, "output": 8_000}, "reasoning": True, "tool_call": True}
LISTENING = "listening on "
pytestmark = [
    pytest.mark.agents,
    pytest.mark.requirement("A3"),
    pytest.mark.requirement("L2"),
    pytest.mark.requirement("W10"),
]


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one server of opencode works."""
    return tmp_path_factory.mktemp("opencode")


@pytest.fixture
def desk(proxy: RecordingProxy, server: ServerProcess, upstream: AgentUpstream, folder: Path) -> Desk:
    proxy.turn_to(server.base)
    return Desk(folder, proxy, upstream)


@pytest.fixture(scope="package")
def opencode(proxy: RecordingProxy, folder: Path) -> Iterator[httpx.Client]:
    command = environments.npm("opencode")
    if command is None:
        pytest.skip("Node is not on this machine: opencode was not tried")
    desk = Desk(folder, proxy, ChatUpstream(ScriptedUpstream()))
    desk.make_folders()
    env = {
        **desk.env,
        "OPENCODE_CONFIG_CONTENT": json.dumps(config(desk.base)),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }
    with started([command, "serve"], desk.work, env) as process:
        assert process.stdout is not None
        limit = threading.Timer(SECONDS, end, (process,))
        limit.start()
        try:
            printed = ""
            for line in process.stdout:
                printed += line
                if LISTENING in line:
                    break
        finally:
            limit.cancel()
        assert LISTENING in printed, printed
        base = printed.partition(LISTENING)[2].strip()
        with httpx.Client(base_url=base, params={"directory": str(desk.work)}, timeout=SECONDS) as client:
            yield client


def config(base: str) -> dict[str, object]:
    """Return opencode's configuration: a provider for each dialect."""
    options = {"baseURL": f"{base}/v1", "apiKey": "key"}
    models = {"glm": MODEL, "chorus": MODEL}
    providers = {name: {"npm": package, "options": options, "models": models} for name, package in PROVIDERS.items()}
    return {"provider": providers, "autoupdate": False, "share": "disabled"}


def sends_thoughts(desk: Desk, provider: str) -> bool:
    """Whether opencode sends reasoning back.

    In chat it has a text only, and no signature.
    """
    return provider != "chat" or desk.upstream.kind == "chat"


def writer(desk: Desk, provider: str, usage: tuple[int, int] = (11, 7)) -> Writer:
    arguments = {"filePath": str(desk.work / FILE), "content": CONTENT}
    return Writer("write", arguments, usage, demands_thoughts=sends_thoughts(desk, provider))


def run(opencode: httpx.Client, provider: str, model: str) -> str:
    """Return what opencode answers to the task."""
    session = opencode.post("/session", json={"title": PROMPT}).raise_for_status().json()["id"]
    asked = {"model": {"providerID": provider, "modelID": model}, "parts": [{"type": "text", "text": PROMPT}]}
    answer = opencode.post(f"/session/{session}/message", json=asked).raise_for_status().json()
    return "".join(part["text"] for part in answer["parts"] if part["type"] == "text")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_opencode_writes_a_file_through_a_thinking_model(opencode: httpx.Client, desk: Desk, provider: str) -> None:
    desk.prepare(writer(desk, provider))
    assert run(opencode, provider, "glm") == SENTENCE
    assert desk.written() == CONTENT
    is_kept = sends_thoughts(desk, provider)
    assert desk.losses("glm", *unsent(is_kept)) == []
    assert desk.received("glm")[-1].thoughts == (THOUGHTS if is_kept else "",)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_opencode_writes_a_file_through_a_workflow(opencode: httpx.Client, desk: Desk, provider: str) -> None:
    """45,000 tokens of each of three calls do not make opencode compact: two turns do the task."""
    desk.prepare(writer(desk, provider, FULL))
    assert run(opencode, provider, "chorus") == SENTENCE
    assert desk.written() == CONTENT
    assert len(desk.proxy.sent) == 2
    is_kept = sends_thoughts(desk, provider)
    for worker in WORKERS:
        assert desk.losses(worker, *unsent(is_kept)) == []
        assert desk.received(worker)[-1].thoughts == (THOUGHTS if is_kept else "",)
