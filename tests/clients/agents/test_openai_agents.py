"""openai-agents' Agent writes a file, in the dialects responses and chat."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.clients import environments
from tests.kit import ServerProcess
from tests.kit.fixtures import demo

from .library import models_of, returned, run, script_losses, writer
from .task import Desk

__all__ = ["demo"]

AGENTS = ("responses", "chat")


@pytest.mark.agents
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_openais_agents_write_files(desk: Desk) -> None:
    """In chat it sends reasoning back to models with "deepseek" in their name only."""
    desk.prepare(writer("responses"))
    run(desk, "agents", "openai_agents.py", AGENTS, models=models_of(desk))
    assert script_losses(desk, "responses") == []
    assert returned(desk, "responses")


@pytest.mark.agents
@pytest.mark.requirement("M3")
def test_a_session_of_openais_agents_is_a_conversation(demo: ServerProcess) -> None:
    program = [environments.python("agents"), str(environments.FOREIGN / "openai_agents_session.py")]
    done = subprocess.run([*program, demo.base, "chorus"], capture_output=True, text=True, timeout=60, env={})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"roles": ["user", "assistant"] * 2, "is_newest": True, "left": 3}
