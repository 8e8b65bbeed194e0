"""The Codex CLI as it comes from npm writes a file through a single model and a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import environments

from .task import (
    CONTENT,
    FREEFORM,
    FREEFORM_FLOW,
    FULL,
    PROMPT,
    SENTENCE,
    THOUGHTS,
    WORKERS,
    Desk,
    Writer,
)

PATCH = f"*** Begin Patch\n*** Add File: hello.txt\n+{CONTENT}\n*** End Patch\n"
SHELL = {"tool": "exec_command", "arguments": {"cmd": f"printf '{CONTENT}' > hello.txt"}}
FREEFORM_TOOL = {"tool": "apply_patch", "arguments": {"input": PATCH}}
pytestmark = [pytest.mark.requirement("A3"), pytest.mark.requirement("L2"), pytest.mark.requirement("W10")]


@pytest.fixture
def codex() -> str:
    command = environments.npm("codex")
    if command is None:
        pytest.skip("Node is not on this machine: the Codex CLI was not tried")
    return command


def run(codex: str, desk: Desk, model: str) -> str:
    """Return what Codex prints while it does the task."""
    (desk.home / "config.toml").write_text(
        f"""model = "{model}"
model_provider = "chorus"
model_context_window = 128000
model_auto_compact_token_limit = 110000
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.chorus]
name = "chorus"
base_url = "{desk.base}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
""",
        encoding="utf-8",
    )
    options = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-C", str(desk.work)]
    return desk.run([codex, "exec", *options, PROMPT], {"CODEX_HOME": str(desk.home)})


@pytest.mark.parametrize("tool", [SHELL, FREEFORM_TOOL], ids=["shell", "freeform"])
def test_codex_writes_a_file_through_a_thinking_model(codex: str, desk: Desk, tool: dict[str, Any]) -> None:
    model = FREEFORM if tool is FREEFORM_TOOL else "glm"
    desk.prepare(Writer(**tool, demands_thoughts=True), model)
    assert SENTENCE in run(codex, desk, model)
    assert desk.written() == CONTENT
    assert desk.losses(model) == []
    last = desk.received(model)[-1]
    assert last.thoughts == (THOUGHTS,)
    assert last.arguments == (tool["arguments"],)


@pytest.mark.parametrize("tool", [SHELL, FREEFORM_TOOL], ids=["shell", "freeform"])
def test_codex_writes_a_file_through_a_workflow(codex: str, desk: Desk, tool: dict[str, Any]) -> None:
    """45,000 tokens of each of three calls do not make Codex compact: two turns do the task."""
    desk.prepare(Writer(**tool, usage=FULL, demands_thoughts=True))
    assert SENTENCE in run(codex, desk, FREEFORM_FLOW if tool is FREEFORM_TOOL else "chorus")
    assert desk.written() == CONTENT
    assert len(desk.proxy.sent) == 2
    for worker in WORKERS:
        assert desk.losses(worker) == []
        assert desk.received(worker)[-1].thoughts == (THOUGHTS,)
