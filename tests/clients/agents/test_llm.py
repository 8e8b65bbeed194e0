"""The program `llm` writes a file with a function that its user gives it.

It sends no reasoning back.
"""

from __future__ import annotations

import pytest

from .library import models_of, run, script_losses, writer
from .task import Desk


@pytest.mark.agents
@pytest.mark.requirement("W10")
def test_llm_writes_files(desk: Desk) -> None:
    desk.prepare(writer())
    run(desk, "agents", "llm_program.py", ("prompt",), models=models_of(desk))
    assert script_losses(desk) == []
