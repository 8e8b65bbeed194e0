"""Every cell of docs/COMPATIBILITY.md is backed by a test that exists (T3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "COMPATIBILITY.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([A-Z][a-z]?)`\s+(?:is\s+)?`([\w/]+\.py)`", TEXT))
ROWS = re.sub(r"^\|.*\n\|---.*$", "", TEXT, flags=re.MULTILINE)  # without the heads of tables
CELLS = [cell.strip() for line in ROWS.splitlines() if line.startswith("| ") for cell in line.strip("|").split("|")[1:]]


@pytest.mark.requirement("T3")
def test_every_cell_names_a_test_that_exists_or_says_what_it_is() -> None:
    named = [cell for cell in CELLS if cell != "–"]
    assert len(named) > 50
    for cell in [*named, *re.findall(r"\b[A-Z][a-z]?::test_\w+", TEXT)]:
        letter, _, name = cell.partition("::")
        source = (ROOT / "tests" / FILES[letter]).read_text(encoding="utf-8")
        assert f"def {name}(" in source, cell
