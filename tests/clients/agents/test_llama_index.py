"""llama-index's FunctionAgent writes a file. It sends no reasoning back."""

from __future__ import annotations

import pytest

from .library import models_of, run, script_losses, writer
from .task import Desk


@pytest.mark.agents
@pytest.mark.requirement("W10")
def test_llama_indexs_agent_writes_files(desk: Desk) -> None:
    desk.prepare(writer())
    run(desk, "openai-1", "llama_index_agents.py", ("function",), models=models_of(desk))
    assert script_losses(desk) == []
