"""Budgets of keys: their periods, and the file that keeps them (M6)."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.auth.budget import KeyBudget, Per
from chorus.auth.keys import Key, KeyFile
from chorus.errors import ConfigError

pytestmark = pytest.mark.requirement("M6")
PERIODS: st.SearchStrategy[Per] = st.sampled_from(["day", "week", "month"])
OLD_FILE = """[{"id": "1a2b3c4d", "name": "laptop", "hash": "ab", "role": "client", "models": ["glm"],
"created": 1.5, "expires": null, "requests": ["60/minute"], "tokens": []}]"""


@given(per=PERIODS, day=st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_each_day_is_in_one_period(per: Per, day: date) -> None:
    budget = KeyBudget(1, per)
    began, renews = budget.began(day), budget.renews(day)
    assert began <= day < renews
    assert budget.began(renews) == renews
    assert budget.began(renews - timedelta(days=1)) == began
    assert (renews - began).days in {"day": (1,), "week": (7,), "month": (28, 29, 30, 31)}[per]
    assert per != "week" or began.weekday() == 0
    assert per != "month" or began.day == 1


@pytest.mark.parametrize(("amount", "shown"), [(10, "10"), (0.5, "0.5"), (1_234_567.89, "1234567.89")])
def test_it_is_shown_as_it_was_given(amount: float, shown: str) -> None:
    assert str(KeyBudget(amount, "week")) == f"{shown} per week"


def test_a_file_keeps_budgets(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.create("bounded", role="client", models=(), expires=None, budget=KeyBudget(2.5, "day"))
    file.create("free", role="client", models=(), expires=None)
    assert [key.budget for key in file.read()] == [KeyBudget(2.5, "day"), None]


def test_a_file_from_before_budgets_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(OLD_FILE)
    file = KeyFile(path)
    old = Key("1a2b3c4d", "laptop", "ab", "client", ("glm",), 1.5, None, ("60/minute",))
    assert file.read() == [old]
    _, new = file.create("new", role="client", models=(), expires=None, budget=KeyBudget(1, "day"))
    assert file.read() == [old, new]


@pytest.mark.parametrize("budget", ['{"amount": 0, "per": "day"}', '{"amount": 1, "per": "year"}', "10"])
def test_a_budget_that_makes_no_sense_is_an_error_of_the_file(tmp_path: Path, budget: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(OLD_FILE.replace('"tokens": []', f'"tokens": [], "budget": {budget}'))
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyFile(path).read()
