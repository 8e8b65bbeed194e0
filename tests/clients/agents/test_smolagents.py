"""smolagents' ToolCallingAgent writes a file.

It writes its calls and results as text, and sends no reasoning back.
"""

from __future__ import annotations

import pytest

from tests.kit.providers import ModelAnswer, ToolUse

from .library import call, models_of, run, script_losses
from .task import FILE, FULL, SENTENCE, SIGNATURE, THOUGHTS, Desk
from .upstreams import Got


def answer(got: Got) -> ModelAnswer:
    """Writes the file, and then calls the tool that ends the run."""
    is_written = "hello.txt has" in got.text
    calls = (ToolUse("final_answer", {"answer": SENTENCE}, "call_2") if is_written else call(FILE),)
    return ModelAnswer(thinking=THOUGHTS, signature=SIGNATURE, calls=calls, usage=FULL)


@pytest.mark.agents
@pytest.mark.requirement("W10")
def test_smolagents_writes_files(desk: Desk) -> None:
    desk.prepare(answer)
    run(desk, "agents", "smolagents_agents.py", ("tools",), (FILE,), models_of(desk))
    assert script_losses(desk) == []
