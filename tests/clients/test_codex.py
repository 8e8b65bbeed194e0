"""The Codex CLI as it comes from npm, against the real server: it edits a file through a single model and a workflow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess

from . import environments
from .conftest import judge

SECONDS = 60
THOUGHTS = "A file is wanted, so I write one."
FREEFORM = "gpt-5.5"
"""A model that Codex offers its freeform `apply_patch` to."""
PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+hello 好\n*** End Patch\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def server(upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    models = "".join(
        f'[[model]]\nname = "{name}"\napi_base = "{upstream.base}/v1"\nretries = 0\n\n'
        for name in ("glm", "kimi", "judge", FREEFORM)
    )
    workflow = """[workflow-integration]
json = '''{"workers": ["glm", "kimi"], "selector": "judge", "synthesizer": "glm"}'''
"""
    with ServerProcess(models + workflow, env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture
def codex() -> str:
    command = environments.codex()
    if command is None:
        pytest.skip("Node is not on this machine: the Codex CLI was not tried")
    return command


def written_by_shell(request: Recorded) -> Say:
    """Calls the shell once, then ends."""
    if any(message["role"] == "tool" for message in request.messages):
        return Say("I have written hello.txt.", usage=(11, 7))
    arguments = json.dumps({"cmd": "printf 'hello 好' > hello.txt"})
    call = {"id": "call_1", "name": "exec_command", "arguments": arguments}
    return Say("", reasoning=THOUGHTS, tool_calls=[call], usage=(11, 7))


def written_by_patch(request: Recorded) -> Say:
    """Calls the freeform patch tool once, then ends."""
    if any(message["role"] == "tool" for message in request.messages):
        return Say("I have written hello.txt.", usage=(11, 7))
    call = {"id": "call_1", "name": "apply_patch", "arguments": json.dumps({"input": PATCH})}
    return Say("", reasoning=THOUGHTS, tool_calls=[call], usage=(11, 7))


def run(codex: str, base: str, model: str, folder: Path) -> str:
    """What Codex prints while it does one task in `folder`."""
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    (home / "config.toml").write_text(
        f"""model = "{model}"
model_provider = "chorus"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.chorus]
name = "chorus"
base_url = "{base}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
""",
        encoding="utf-8",
    )
    options = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-C", str(work)]
    done = subprocess.run(
        [codex, "exec", *options, "Write hello.txt"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "CODEX_HOME": str(home)},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def turn(request: Recorded) -> list[dict[str, Any]]:
    """The call and its result in the conversation that Codex sent back."""
    return [each for each in request.messages if each.get("tool_calls") or each["role"] == "tool"]


@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_codex_writes_a_file(
    codex: str, server: ServerProcess, upstream: ScriptedUpstream, tmp_path: Path, model: str
) -> None:
    upstream.forget()
    upstream.on("glm", written_by_shell).on("kimi", written_by_shell).on("judge", judge)
    printed = run(codex, server.base, model, tmp_path)
    assert (tmp_path / "work" / "hello.txt").read_text(encoding="utf-8") == "hello 好"
    assert "I have written hello.txt." in printed
    call, result = turn(upstream.calls("glm")[-1])
    assert call["tool_calls"][0]["function"]["name"] == "exec_command"
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]


@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_codex_writes_a_file_with_its_freeform_tool(
    codex: str, server: ServerProcess, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.forget()
    upstream.on(FREEFORM, written_by_patch)
    printed = run(codex, server.base, FREEFORM, tmp_path)
    assert (tmp_path / "work" / "hello.txt").read_text(encoding="utf-8") == "hello 好\n", printed
    call, _ = turn(upstream.calls(FREEFORM)[-1])
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}
