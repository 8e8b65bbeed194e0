"""openai-agents against the real server: an agent writes a file through a single model and a workflow."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess

from . import environments

SCRIPT = Path(__file__).parent / "foreign" / "openai_agents.py"
SECONDS = 60


def writes(request: Recorded) -> Say:
    """Calls the tool once, with the name in the question."""
    if any(message["role"] == "tool" for message in request.messages):
        return Say("I have written it.", usage=(11, 7))
    name = "streamed.txt" if "streamed.txt" in request.text else "whole.txt"
    arguments = json.dumps({"name": name, "text": "hello 好"})
    call = {"id": "call_1", "name": "write_file", "arguments": arguments}
    return Say("", reasoning="A file is wanted.", tool_calls=[call], usage=(11, 7))


@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_an_agent_writes_files(server: ServerProcess, scripted: ScriptedUpstream, tmp_path: Path, model: str) -> None:
    scripted.on("glm", writes).on("kimi", writes)
    command = [environments.python("openai-agents"), str(SCRIPT), server.base, model, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert lines == ["PASS whole", "PASS streamed", "PASS items"], done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "whole.txt").read_text(encoding="utf-8") == "hello 好"
    call, result = scripted.calls("glm")[-1].messages[1:3]
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
