"""The tables of docs/TEMPERATURE_CONFIG.md, row by row (W4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus.workflow.judging import temperature
from chorus.workflow.judging.temperature import ModelTemperature, Temperature
from chorus.workflow.plan import Leaf

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "TEMPERATURE_CONFIG.md"
Row = dict[str, str]


def rows(name: str) -> Iterator[Row]:
    """The rows of the table that follows `<!-- table: name -->`."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"<!-- table: {name} -->\n")[1]
    lines = re.match(r"(?:\|.*\n)+", text)
    assert lines is not None
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()]
    for cells in body:
        yield dict(zip(head, cells, strict=True))


def number(cell: str) -> float | None:
    return None if cell == "–" else float(cell)


def flag(cell: str) -> bool | None:
    return {"–": None, "true": True, "false": False}[cell]


def model_of(row: Row) -> ModelTemperature:
    fixed = "none" if row["model"] == "none" else number(row["model"])
    return ModelTemperature(fixed, bool(flag(row.get("model auto", "–"))))  # type: ignore[arg-type]


def node_of(row: Row) -> Leaf:
    return Leaf("m", "m", number(row["node"]), flag(row.get("node auto", "–")))


def decided(name: str, row: Row) -> Temperature:
    model = model_of(row)
    if name == "single":
        return temperature.single(model, number(row["client"]))
    if name == "judge":
        return temperature.judge(node_of(row), model)
    if name == "synthesizer":
        return temperature.synthesizer(node_of(row), model, number(row["client"]))
    return temperature.worker(node_of(row), model, number(row["client"]), number(row["analyzer"]))


CASES = [(name, row) for name in ("worker", "judge", "synthesizer", "single") for row in rows(name)]


@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{n}:{'|'.join(r.values())}" for n, r in CASES])
@pytest.mark.requirement("W4")
def test_every_row_of_the_document_is_true(name: str, row: Row) -> None:
    assert decided(name, row) == Temperature(number(row["sent"]), row["source"])  # type: ignore[arg-type]


@pytest.mark.requirement("W3")
def test_only_who_would_take_the_analyzers_word_waits_for_it() -> None:
    for row in rows("worker"):
        waits = temperature.awaits_analysis(node_of(row), model_of(row), number(row["client"]))
        with_word = temperature.worker(node_of(row), model_of(row), number(row["client"]), 0.1)
        assert waits == (with_word.source == "analyzer")
