"""langgraph's agents with the chat models of OpenAI (chat and responses), Anthropic and Ollama each
write a file.
"""

from __future__ import annotations

import pytest

from .library import returned, run, script_losses, writer
from .task import Desk

AGENTS = ("chat", "responses", "anthropic", "ollama")
RETURNING = ("responses", "anthropic", "ollama")
"""Those that send thoughts back: langchain's ChatOpenAI throws `reasoning_content` away."""


@pytest.mark.agents
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_langgraphs_agents_write_files(desk: Desk) -> None:
    desk.prepare(writer(*RETURNING))
    run(desk, "langchain", "langgraph_agents.py", AGENTS)
    assert script_losses(desk) == []
    assert all(returned(desk, agent) for agent in RETURNING)
