"""docs/WORKFLOWS.md and examples/workflows.toml: every command there runs and takes the shortcut
that it claims (T3).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chorus import config as configuration
from chorus.events import RunFinished
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from chorus.types import ChatRequest, Message
from chorus.workflow.parse_options import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "WORKFLOWS.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples" / "workflows.toml"
COMMAND = re.compile(r'^chorus ask --config examples/workflows\.toml --model (\S+) "([^"]+)"   # (\w+)$', re.MULTILINE)


@pytest.fixture
async def chorus() -> AsyncIterator[Chorus]:
    config = configuration.load(EXAMPLES, {}, workflow_problems)
    chorus = Chorus(config)
    yield chorus
    await chorus.aclose()


@pytest.mark.parametrize(("model", "question", "shortcut"), COMMAND.findall(DOCUMENT))
@pytest.mark.requirement("T3")
@pytest.mark.requirement("W7")
async def test_the_commands_do_what_they_say(chorus: Chorus, model: str, question: str, shortcut: str) -> None:
    request = ChatRequest(model, (Message("user", question),))
    async with chorus.run((request,), request_id="req_1", unique="1", streaming=True) as journal:
        await journal.ended()
        over = journal.events[-1]
    assert isinstance(over, RunFinished)
    assert "42" in over.answers[0].text
    assert [each.name for each in over.shortcuts] == ([] if shortcut == "none" else [shortcut])


@pytest.mark.requirement("T3")
def test_every_example_has_its_command_and_every_option_its_section() -> None:
    config = configuration.load(EXAMPLES, {}, workflow_problems)
    assert {model.removeprefix("chorus/") for model, _, _ in COMMAND.findall(DOCUMENT)} == set(config.workflows)
    for option in (*OPTIONS, "samples", "passes"):
        assert re.search(rf"^### `{option}`: ", DOCUMENT, re.MULTILINE), option
        assert f"| `{option}` |" in DOCUMENT
