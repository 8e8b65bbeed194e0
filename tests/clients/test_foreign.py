"""Client libraries in environments of their own, against the real server: other majors of `openai`, langchain, litellm, and
those of npm. `environments.py` makes the environments; `make test` does so before the suite starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess

from . import environments
from .conftest import ANSWER

HERE = Path(__file__).parent / "foreign"
CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "Paris"}'}


def able(request: Recorded) -> Say:
    """A model that calls the tool it is given, reads its result, and fills in a form."""
    body = request.json
    if any(message["role"] == "tool" for message in request.messages):
        return Say("It rains in Paris.")
    if body.get("tools"):
        return Say("", tool_calls=[CALL])
    if body.get("response_format") or body.get("format") or "As JSON" in request.text:
        return Say('{"n": 7}')
    return Say(ANSWER, usage=(11, 7))


@pytest.fixture
def base(server: ServerProcess, scripted: ScriptedUpstream) -> str:
    for name in ("glm", "kimi", "local"):
        scripted.on(name, able)
    return server.base


def run(command: list[str], **env: str) -> list[str]:
    """The lines of a script that tell of checks."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, **env},
        check=False,
        cwd=environments.KEPT,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return lines


@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
def test_openai_1(base: str) -> None:
    lines = run([environments.python("openai-1"), str(HERE / "openai_1.py"), base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 15


@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
def test_langchain_and_litellm(base: str) -> None:
    script = str(HERE / "langchain_and_litellm.py")
    lines = run([environments.python("langchain"), script, base], LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 * (3 * 6 + 3) + 2


@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
def test_npm(base: str) -> None:
    node = environments.node()
    if node is None:
        pytest.skip("Node is not on this machine: the clients of npm were not tried")
    lines = run([*node, base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 * (7 + 3 * 7)
