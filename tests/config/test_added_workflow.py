"""Adding a workflow to a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from chorus.config.added_workflow import with_workflow
from chorus.errors import ConfigError

TREE: dict[str, Any] = {
    "workers": [{"ref": "glm", "samples": 3, "temperature": 0.7}, {"ref": 'k"imi'}],
    "selector": {"ref": "glm", "passes": 2},
    "agreement": {"threshold": 2},
    "decisive": True,
}
TEXT = '# mine\n[[model]]\nname = "glm" # good\n'


@pytest.mark.parametrize("text", [TEXT, "", TEXT + '[workflows.other]\nworkers = ["glm"]\n', TEXT.rstrip()])
def test_it_stands_at_the_end_and_the_rest_stays(text: str) -> None:
    added = with_workflow(text, "tuned", "chosen", TREE, "from an evaluation\nof 40 questions")
    assert added.startswith(text.rstrip())
    assert "# from an evaluation\n# of 40 questions\n[workflows.tuned]\n" in added
    before, after = tomllib.loads(text), tomllib.loads(added)
    assert after["workflows"].pop("tuned") == {"description": "chosen", **TREE}
    assert {**after, "workflows": after["workflows"]} == {"workflows": {}, **before}


def test_the_ends_of_lines_stay() -> None:
    added = with_workflow(TEXT.replace("\n", "\r\n"), "tuned", "chosen", TREE, "note")
    assert added.count("\n") == added.count("\r\n")


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        (TEXT, "a b", "a name has letters"),
        ('[workflows.tuned]\nworkers = ["glm"]\n', "tuned", "there is one already"),
        ('workflows = { other = { workers = ["glm"] } }\n', "tuned", "write it by hand"),
        ("workflows = 1\n", "tuned", "expected tables"),
        ("a = [", "tuned", "TOML"),
    ],
)
def test_what_cannot_be_added_is_said(text: str, name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        with_workflow(text, name, "chosen", TREE, "note")
    assert problem in raised.value.message
