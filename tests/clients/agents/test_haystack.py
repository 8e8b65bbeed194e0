"""Haystack's Agent with its generators for chat and responses writes a file."""

from __future__ import annotations

import pytest

from .library import models_of, returned, run, script_losses, writer
from .task import Desk

AGENTS = ("chat", "responses")


@pytest.mark.agents
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_haystacks_agents_write_files(desk: Desk) -> None:
    """Its generator for chat keeps no reasoning."""
    desk.prepare(writer("responses"))
    run(desk, "agents", "haystack_agents.py", AGENTS, models=models_of(desk))
    assert script_losses(desk, "responses") == []
    assert returned(desk, "responses")
