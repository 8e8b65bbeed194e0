"""langgraph's agents with the chat models of OpenAI (chat and responses), Anthropic and Ollama each
write a file.
"""

from __future__ import annotations

import pytest

from .library import returned, run, script_losses, writer
from .task import Desk

AGENTS = ("chat", "responses", "anthropic", "ollama")
SIGNED = ("responses", "anthropic")
"""Those that send thoughts back with their signatures."""
RETURNING = {"chat": (*SIGNED, "ollama"), "anthropic": SIGNED, "responses": SIGNED}
"""Those whose thoughts come back to an upstream, by its kind.

langchain's ChatOpenAI throws `reasoning_content` away, and Ollama's protocol has no signatures.
"""


@pytest.mark.agents
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_langgraphs_agents_write_files(desk: Desk) -> None:
    returning = RETURNING[desk.upstream.kind]
    desk.prepare(writer(*returning))
    run(desk, "langchain", "langgraph_agents.py", AGENTS)
    assert script_losses(desk, *returning) == []
    assert all(returned(desk, agent) for agent in returning)
