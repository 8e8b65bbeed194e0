"""aider edits a file by the text of an answer, and remembers it in its next turn.

It sends no reasoning back.
"""

from __future__ import annotations

import pytest

from tests.kit.providers import ModelAnswer

from .library import models_of, run, script_losses
from .task import CONTENT, FILE, FULL, SENTENCE, SIGNATURE, THOUGHTS, Desk
from .upstreams import Got

EDIT = f"{FILE}\n```\n<<<<<<< SEARCH\nhello\n=======\n{CONTENT}\n>>>>>>> REPLACE\n```\n"


def answer(got: Got) -> ModelAnswer:
    """Answers with an edit, and then with a sentence."""
    is_asked = "What did you write?" in got.text
    return ModelAnswer(SENTENCE if is_asked else EDIT, thinking=THOUGHTS, signature=SIGNATURE, usage=FULL)


@pytest.mark.agents
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_aider_edits_files(desk: Desk) -> None:
    desk.prepare(answer, "glm", "kimi", "author")
    run(desk, "aider", "aider_program.py", ("editor",), (FILE,), models_of(desk))
    assert script_losses(desk) == []
    assert all(EDIT in got.text for got in desk.upstream.calls("glm") if "What did you write?" in got.text)
