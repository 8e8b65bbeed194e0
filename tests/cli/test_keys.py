"""`chorus keys` with budgets (M6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from tests.kit.command import chorus

pytestmark = pytest.mark.requirement("M6")


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        (["--budget", "10", "--per", "month"], KeyBudget(10, "month")),
        (["--budget", "10"], KeyBudget(10, "month")),
        (["--budget", "0.5", "--per", "day"], KeyBudget(0.5, "day")),
        (["--budget", "3", "--per", "week"], KeyBudget(3, "week")),
        ([], None),
    ],
)
def test_a_key_is_made_with_a_budget_and_listed_with_it(
    tmp_path: Path, options: list[str], budget: KeyBudget | None
) -> None:
    path = tmp_path / "keys.json"
    made = chorus("keys", "create", "laptop", *options, "--file", str(path), home=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("sk-chorus-")
    assert [key.budget for key in KeyFile(path).read()] == [budget]
    listed = chorus("keys", "list", "--file", str(path), home=tmp_path).stdout
    assert (f"all models, {budget}" in listed) if budget is not None else ("per" not in listed)


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "0"],
        ["--budget", "-1"],
        ["--budget", "nan"],
        ["--budget", "inf"],
        ["--budget", "much"],
        ["--budget", "10", "--per", "year"],
        ["--per", "month"],
    ],
)
def test_a_budget_that_makes_no_sense_makes_no_key(tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "keys.json"
    refused = chorus("keys", "create", "laptop", *options, "--file", str(path), home=tmp_path)
    assert refused.returncode == 2
    assert options[-2] in refused.stderr
    assert not path.exists()
