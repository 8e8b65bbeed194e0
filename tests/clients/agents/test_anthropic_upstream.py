"""Agents through models and a workflow whose upstream is Anthropic's Messages API.

The scripted API refuses a turn whose thinking does not come back as it was: each agent has to bring
it, in whichever dialect it speaks.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments
from tests.kit import Recorded, ServerProcess
from tests.kit.providers import ModelAnswer, ToolUse
from tests.kit.providers.anthropic import AnthropicProvider

from .library import MODELS, OFFLINE, OTHER, TOOL, WAYS
from .task import CONTENT, FILE, SECONDS, SENTENCE, THOUGHTS, VERDICT

SIGNATURE = "c2lnbmVk"
UPSTREAM = {"glm": "claude-haiku-4-5", "kimi": "claude-opus-4-6", "judge": "claude-haiku-4-5"}
FLOW = {"workers": ["glm", "kimi"], "selector": "judge", "synthesizer": "judge"}
pytestmark = [pytest.mark.agents, pytest.mark.requirement("A3"), pytest.mark.requirement("L2")]


@pytest.fixture(scope="module")
def provider() -> Iterator[AnthropicProvider]:
    with AnthropicProvider.serving() as serving:

        def answered(recorded: Recorded) -> Any:
            earlier = list(serving.refusals)
            serving.script(_answer(recorded.json))
            serving.refusals[:0] = earlier  # those of all requests
            return serving._answered(recorded)

        serving.upstream.on("/v1/messages", answered)
        yield serving


def _answer(body: dict[str, Any]) -> ModelAnswer:
    """Two files are written at once, with a thought; then a sentence is said."""
    last = body["messages"][-1]["content"]
    texts = "".join(block["text"] for block in last if block["type"] == "text")
    if texts.startswith("[Chorus selector]"):
        return ModelAnswer(VERDICT)
    has_results = any(block["type"] == "tool_result" for message in body["messages"] for block in message["content"])
    if has_results or texts.startswith("[Chorus synthesizer]"):
        return ModelAnswer(SENTENCE)
    calls = tuple(
        ToolUse(TOOL, {"path": path, "text": CONTENT}, f"toolu_{place}") for place, path in enumerate((FILE, OTHER))
    )
    return ModelAnswer(thinking=THOUGHTS, signature=SIGNATURE, calls=calls)


@pytest.fixture(scope="module")
def server(provider: AnthropicProvider) -> Iterator[ServerProcess]:
    models = "".join(
        f'[[model]]\nname = "{name}"\nprovider = "anthropic"\nmodel = "{model}"\napi_base = "{provider.base}"\n'
        f'api_key = "sk-ant-key"\nretries = 0\n\n'
        for name, model in UPSTREAM.items()
    )
    flow = json.dumps(FLOW)
    with ServerProcess(f"{models}[workflow-integration]\njson = '''{flow}'''\n", env={"CHORUS_LOG": "error"}) as server:
        yield server


@pytest.mark.parametrize(
    ("environment", "script", "agents"),
    [
        ("agents", "pydantic_ai_agents.py", ("chat", "responses", "anthropic")),
        ("langchain", "langgraph_agents.py", ("chat", "responses", "anthropic", "ollama")),
    ],
)
def test_agents_write_files(
    provider: AnthropicProvider,
    server: ServerProcess,
    tmp_path: Path,
    environment: str,
    script: str,
    agents: tuple[str, ...],
) -> None:
    provider.bodies.clear()
    provider.refusals.clear()
    command = [environments.python(environment), str(environments.FOREIGN / script), server.base, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, **OFFLINE}, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASS ", "FAIL "))]
    names = [f"{agent} {model} {way}" for agent in agents for model in MODELS for way in WAYS]
    assert lines == [f"PASS {name}" for name in names], done.stdout[-4000:] + done.stderr[-4000:]
    assert not provider.refusals
    returned = [body for body in provider.bodies if len(body["messages"]) == 3]
    assert returned
    for body in returned:
        kinds = [block["type"] for block in body["messages"][1]["content"]]
        assert kinds[-2:] == ["tool_use", "tool_use"]
