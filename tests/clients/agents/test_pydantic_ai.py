"""pydantic-ai's Agent writes a file, in the dialects chat, responses and Anthropic's."""

from __future__ import annotations

import pytest

from .library import returned, run, script_losses, writer
from .task import Desk

AGENTS = ("chat", "responses", "anthropic")
SIGNED = ("responses", "anthropic")
"""Those that send thoughts back with their signatures: in chat it has a text only."""


@pytest.mark.agents
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_pydantic_ais_agents_write_files(desk: Desk) -> None:
    """Its streamed run ends with the first text, so the model says none before its calls."""
    returning = AGENTS if desk.upstream.kind == "chat" else SIGNED
    desk.prepare(writer(*returning, preamble=""))
    run(desk, "agents", "pydantic_ai_agents.py", AGENTS)
    assert script_losses(desk, *returning) == []
    assert all(returned(desk, agent) for agent in returning)
