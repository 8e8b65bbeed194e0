"""The specification is traceable from the tests, both ways."""

import re
from pathlib import Path

import pytest

from tests.requirements import DELIVERED, LATER

TESTS = Path(__file__).parent
MARK = re.compile(r"""mark\.requirement\(["'](\w+)["']\)""")


def marked() -> dict[str, set[str]]:
    """Which files hold which requirement."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for requirement in MARK.findall(path.read_text(encoding="utf-8")):
            found.setdefault(requirement, set()).add(str(path.relative_to(TESTS)))
    return found


@pytest.mark.requirement("T1")
def test_no_test_names_a_requirement_that_does_not_exist() -> None:
    assert set(marked()) <= DELIVERED | LATER


@pytest.mark.requirement("T1")
def test_every_delivered_requirement_has_a_test() -> None:
    assert sorted(DELIVERED - set(marked())) == []
