"""smolagents' ToolCallingAgent writes a file.

It writes its calls and results as text, and sends no reasoning back.
"""

from __future__ import annotations

import json

import pytest

from tests.kit import Recorded, Say

from .library import call, losses, run
from .task import FILE, FULL, SENTENCE, THOUGHTS, Desk


def answer(request: Recorded) -> Say:
    """Writes the file, and then calls the tool that ends the run."""
    is_written = "hello.txt has" in request.text
    ending = {"id": "call_2", "name": "final_answer", "arguments": json.dumps({"answer": SENTENCE})}
    return Say("", reasoning=THOUGHTS, tool_calls=[ending if is_written else call(FILE)], usage=FULL)


@pytest.mark.agents
@pytest.mark.requirement("W10")
def test_smolagents_writes_files(desk: Desk) -> None:
    desk.prepare(answer)
    run(desk, "agents", "smolagents_agents.py", ("tools",), (FILE,))
    assert losses(desk) == []
