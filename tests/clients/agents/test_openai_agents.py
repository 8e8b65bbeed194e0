"""openai-agents' Agent writes a file, in the dialects responses and chat."""

from __future__ import annotations

import pytest

from .library import losses, returned, run, writer
from .task import Desk

AGENTS = ("responses", "chat")


@pytest.mark.agents
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_openais_agents_write_files(desk: Desk) -> None:
    """In chat it sends reasoning back to models with "deepseek" in their name only."""
    desk.prepare(writer("responses"))
    run(desk, "agents", "openai_agents.py", AGENTS)
    assert losses(desk) == []
    assert returned(desk, "responses")
