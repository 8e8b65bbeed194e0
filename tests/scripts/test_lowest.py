"""`scripts/lowest.py`: the lowest versions that pyproject.toml allows, as constraints of pip."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scripts.lowest import lowest, pin

ROOT = Path(__file__).resolve().parents[2]


def test_every_dependency_has_one_lowest_version() -> None:
    pins = lowest(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"])
    assert "pydantic==2.12" in pins
    assert not [line for line in pins if "[" in line or line.startswith("chorus-llm")]
    assert len(pins) == len(set(pins))


@pytest.mark.parametrize(
    ("entry", "pinned"),
    [
        ("a-b>=1.2", "a-b==1.2"),
        ("a>=1.2,<2", "a==1.2"),
        ("a[b,c]>=1.2; sys_platform == 'linux'", "a==1.2; sys_platform == 'linux'"),
    ],
)
def test_a_lower_bound_is_a_pin(entry: str, pinned: str) -> None:
    assert pin(entry) == pinned


def test_a_dependency_without_a_lower_bound_is_named() -> None:
    with pytest.raises(SystemExit, match="'a' has no lower bound"):
        pin("a")
